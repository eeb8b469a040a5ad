package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/cmd/internal/workload"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// planJSON is the object of plan --json. Sizes are in bytes.
type planJSON struct {
	Model         string          `json:"model"`
	Batch         int             `json:"batch"`
	Size          int             `json:"size"`
	Precision     string          `json:"precision"`
	Mode          string          `json:"mode"`
	Classes       int             `json:"classes"`
	Device        string          `json:"device"`
	Dispatches    int             `json:"dispatches"`
	TrafficPer    int64           `json:"traffic_bytes_per_image"`
	FloorPer      int64           `json:"floor_bytes_per_image"`
	FLOPsPer      int64           `json:"flops_per_image"`
	Memory        workload.Memory `json:"memory"`
	HeapBytes     int64           `json:"heap_bytes"`
	Fits          bool            `json:"fits"`
	LargestBatch  int             `json:"largest_batch"`
	Kernels       []kernelJSON    `json:"kernels"`
	DispatchTable []dispatchJSON  `json:"dispatch_table,omitempty"`
}

// kernelJSON sums the dispatches of one kernel in one section of the step.
type kernelJSON struct {
	Section    string `json:"section"`
	Kernel     string `json:"kernel"`
	Dispatches int    `json:"dispatches"`
	Read       int64  `json:"read_bytes"`
	Written    int64  `json:"written_bytes"`
	FLOPs      int64  `json:"flops"`
}

type dispatchJSON struct {
	Section string    `json:"section"`
	Kernel  string    `json:"kernel"`
	Label   string    `json:"label"`
	Groups  [3]uint32 `json:"groups"`
	Read    int64     `json:"read_bytes"`
	Written int64     `json:"written_bytes"`
	FLOPs   int64     `json:"flops"`
}

func newPlan(a *app) *cobra.Command {
	var model, precision, padding, optimizer string
	var batch, size, classes int
	var all, asJSON bool
	mode := layers.Train
	cmd := &cobra.Command{
		Use:   "plan --model M --batch N --size R",
		Short: "what a step would dispatch, move and take of memory, without running it",
		Long: `plan builds the plan of one step without running it: the dispatches, the bytes and FLOPs that
each must move and compute, the memory by class, the traffic per image beside the floor, whether
it fits the device and the largest batch that does.

Bytes are the sizes of the ranges that a dispatch reads and writes. The floor is what would have to
move if every convolution's output were written once, read once and, in training, read once more
in backward, and its gradient written and read once.`,
		Example: `  vkeffnet plan --model s --batch 32 --size 300
  vkeffnet plan --model b0 --batch 1 --size 224 --mode infer --all`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	modelFlag(f, &model, "")
	f.IntVar(&batch, "batch", 0, "images of a step")
	f.IntVar(&size, "size", 0, "side of the images in pixels")
	f.IntVar(&classes, "classes", imageNetClasses, "classes of the head")
	modeFlag(f, &mode)
	precisionFlag(f, &precision)
	f.StringVar(&padding, "padding", "torch", "torch or same")
	f.StringVar(&optimizer, "optimizer", "rmsprop", "rmsprop or sgd")
	f.BoolVar(&all, "all", false, "list every dispatch")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	require(cmd, "model", "batch", "size")
	cmd.RunE = do(func(context.Context, []string) error {
		c, err := a.workload(model, precision, padding, optimizer)
		if err != nil {
			return err
		}
		c.Batch, c.Size, c.Classes, c.Mode = batch, size, classes, mode
		if err := checkSizes(c); err != nil {
			return err
		}
		dev, err := a.open()
		if err != nil {
			return err
		}
		defer dev.Close()
		p, err := newPlanJSON(dev, c, precision, all)
		if err != nil {
			return err
		}
		if asJSON {
			return a.printJSON(p)
		}
		return a.printPlan(p)
	})
	return cmd
}

// workload reads the flags that plan and bench share.
func (a *app) workload(model, precision, padding, optimizer string) (workload.Config, error) {
	c := workload.Config{NoFuse: a.noFuse}
	var err error
	if c.Elem, err = parsePrecision(precision); err != nil {
		return c, err
	}
	if c.Variant, err = variant(model); err != nil {
		return c, err
	}
	if c.Padding, err = parsePadding(padding); err != nil {
		return c, err
	}
	switch optimizer {
	case "rmsprop":
		c.Method = layers.RMSProp
	case "sgd":
		c.Method = layers.SGD
	default:
		return c, usagef("--optimizer: got %q, want rmsprop or sgd", optimizer)
	}
	return c, nil
}

func checkSizes(c workload.Config) error {
	for _, f := range []struct {
		name      string
		got, want int
	}{{"batch", c.Batch, 1}, {"size", c.Size, 1}, {"classes", c.Classes, 2}} {
		if f.got < f.want {
			return usagef("--%s: got %d, want at least %d", f.name, f.got, f.want)
		}
	}
	return nil
}

func newPlanJSON(dev *vk.Device, c workload.Config, precision string, all bool) (*planJSON, error) {
	heap := dev.Limits().Heap
	largest, err := workload.LargestBatch(dev, c, heap)
	if err != nil {
		return nil, err
	}
	w, err := workload.Declare(dev, c)
	if err != nil {
		if largest > 0 && largest < c.Batch {
			err = withHint(err, fmt.Sprintf("the largest batch that fits is %d", largest))
		}
		return nil, err
	}
	rec, err := w.Net.Record()
	if err != nil {
		return nil, err
	}
	p := &planJSON{Model: c.Variant.Name, Batch: c.Batch, Size: c.Size, Precision: precision, Mode: c.Mode.String(), Classes: c.Classes,
		Device: dev.Info().Name, FloorPer: w.Net.FloorBytes() / int64(c.Batch), Memory: w.Memory(), HeapBytes: heap, LargestBatch: largest}
	p.Fits = p.Memory.Total <= heap
	rows := map[[2]string]int{}
	for _, call := range rec.Calls() {
		key := [2]string{call.Section, call.Shader}
		i, ok := rows[key]
		if !ok {
			i = len(p.Kernels)
			rows[key] = i
			p.Kernels = append(p.Kernels, kernelJSON{Section: call.Section, Kernel: call.Shader})
		}
		k := &p.Kernels[i]
		k.Dispatches++
		k.Read += call.Read
		k.Written += call.Written
		k.FLOPs += call.FLOPs
		p.Dispatches++
		p.TrafficPer += call.Read + call.Written
		p.FLOPsPer += call.FLOPs
		if all {
			p.DispatchTable = append(p.DispatchTable, dispatchJSON{call.Section, call.Shader, call.Label, call.Groups, call.Read, call.Written, call.FLOPs})
		}
	}
	p.TrafficPer /= int64(c.Batch)
	p.FLOPsPer /= int64(c.Batch)
	return p, nil
}

func (a *app) printPlan(p *planJSON) error {
	fmt.Fprintf(a.stdout, "%s, batch %d of %dx%d, %s, %s, on %s\n\n", p.Model, p.Batch, p.Size, p.Size, p.Mode, p.Precision, p.Device)
	total := p.TrafficPer * int64(p.Batch)
	share := func(n int64) string { return table.Percent(float64(n) / float64(max(total, 1))) }
	if p.DispatchTable != nil {
		t := table.New(">#", "SECTION", "KERNEL", "WORK", ">GROUPS", ">READ", ">WRITTEN", ">FLOPS")
		for i, d := range p.DispatchTable {
			t.Add(strconv.Itoa(i), d.Section, d.Kernel, d.Label, fmt.Sprintf("%dx%dx%d", d.Groups[0], d.Groups[1], d.Groups[2]),
				table.Bytes(d.Read), table.Bytes(d.Written), table.Count(float64(d.FLOPs)))
		}
		if err := t.Write(a.stdout); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout)
	}
	t := table.New("SECTION", "KERNEL", ">DISPATCHES", ">READ", ">WRITTEN", ">TRAFFIC", ">FLOPS")
	rows := slices.Clone(p.Kernels)
	slices.SortStableFunc(rows, func(x, y kernelJSON) int { return cmp.Compare(y.Read+y.Written, x.Read+x.Written) })
	for _, k := range rows {
		t.Add(k.Section, k.Kernel, strconv.Itoa(k.Dispatches), table.Bytes(k.Read), table.Bytes(k.Written), share(k.Read+k.Written), table.Count(float64(k.FLOPs)))
	}
	if err := t.Write(a.stdout); err != nil {
		return err
	}
	fmt.Fprintln(a.stdout)
	m := p.Memory
	t = table.New("", ">", "")
	t.Add("dispatches", strconv.Itoa(p.Dispatches))
	t.Add("FLOPs per image", table.Count(float64(p.FLOPsPer)))
	t.Add("traffic per image", table.Bytes(p.TrafficPer), fmt.Sprintf("%.2f times the floor of %s", float64(p.TrafficPer)/float64(p.FloorPer), table.Bytes(p.FloorPer)))
	t.Add("weights and statistics", table.Bytes(m.Weights))
	t.Add("gradients", table.Bytes(m.Gradients))
	t.Add("optimizer and averages", table.Bytes(m.Optimizer))
	t.Add("activations", table.Bytes(m.Activations), fmt.Sprintf("%s if none shared memory", table.Bytes(m.ActivationsNaive)))
	t.Add("inputs and outputs", table.Bytes(m.Staging))
	t.Add("total", table.Bytes(m.Total), fmt.Sprintf("of %s on the device", table.Bytes(p.HeapBytes)))
	t.Add("fits", yesNo(p.Fits), fmt.Sprintf("the largest batch that fits is %d", p.LargestBatch))
	return t.Write(a.stdout)
}
