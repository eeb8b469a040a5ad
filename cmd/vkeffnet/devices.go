package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// deviceJSON is one device of devices --json and the device of bench --json.
type deviceJSON struct {
	Index         int          `json:"index"`
	Name          string       `json:"name"`
	Vendor        string       `json:"vendor"`
	Driver        string       `json:"driver"`
	DriverVersion string       `json:"driver_version"`
	API           string       `json:"api"`
	UUID          string       `json:"uuid"`
	Type          string       `json:"type"`
	MemoryBytes   int64        `json:"memory_bytes"`
	SubgroupMin   uint32       `json:"subgroup_min"`
	SubgroupMax   uint32       `json:"subgroup_max"`
	F16           bool         `json:"f16"`
	BF16          bool         `json:"bf16"`
	CoopMat       []vk.CoopMat `json:"coopmat"`
	Flexible      []vk.CoopMat `json:"coopmat_flexible"`
	Chosen        bool         `json:"chosen"`
	Refused       string       `json:"refused"`
}

func newDeviceJSON(i vk.Info) deviceJSON {
	return deviceJSON{Index: i.Index, Name: i.Name, Vendor: i.Vendor, Driver: i.Driver, DriverVersion: i.DriverVersion, API: i.API,
		UUID: i.UUID, Type: i.Type, MemoryBytes: i.MemoryBytes, SubgroupMin: i.SubgroupMin, SubgroupMax: i.SubgroupMax,
		F16: i.F16, BF16: i.BF16, CoopMat: i.CoopMat, Flexible: i.CoopMatFlexible, Chosen: i.Chosen, Refused: i.Refused}
}

func newDevices(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "devices [--json]",
		Short: "list every Vulkan device, which one would be used, and why another cannot be",
		Example: `  vkeffnet devices
  vkeffnet devices --device radeon
  VK_ICD_FILENAMES=/usr/share/vulkan/icd.d/lvp_icd.x86_64.json vkeffnet devices --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = do(func(context.Context, []string) error {
		o, err := a.deviceOptions()
		if err != nil {
			return err
		}
		infos, err := vk.Devices(o)
		if err != nil {
			return err
		}
		if asJSON {
			list := []deviceJSON{}
			for _, i := range infos {
				list = append(list, newDeviceJSON(i))
			}
			return a.printJSON(map[string]any{"devices": list})
		}
		return a.printDevices(infos)
	})
	return cmd
}

// printDevices prints one row a device, a star at the one that would be used, and the reasons for refusal below.
func (a *app) printDevices(infos []vk.Info) error {
	t := table.New("", ">#", "NAME", "TYPE", ">MEMORY", ">SUBGROUP", "F16", "BF16", "COOPMAT", "DRIVER", "UUID")
	for _, i := range infos {
		mark := ""
		switch {
		case i.Chosen:
			mark = "*"
		case i.Refused != "":
			mark = "x"
		}
		t.Add(mark, strconv.Itoa(i.Index), i.Name, i.Type, table.Bytes(i.MemoryBytes), subgroups(i), yesNo(i.F16), yesNo(i.BF16), coopMats(i.CoopMat), strings.TrimSpace(i.Driver+" "+i.DriverVersion), i.UUID)
	}
	if err := t.Write(a.stdout); err != nil {
		return err
	}
	chosen := false
	for _, i := range infos {
		chosen = chosen || i.Chosen
		if i.Refused != "" {
			fmt.Fprintf(a.stdout, "x %d cannot be used: %s\n", i.Index, i.Refused)
		}
		if len(i.CoopMat) > 0 {
			fmt.Fprintf(a.stdout, "%d multiplies matrices of MxNxK %s\n", i.Index, shapes(i.CoopMat))
		}
		if len(i.CoopMatFlexible) > 0 {
			fmt.Fprintf(a.stdout, "%d multiplies matrices of multiples of MxNxK %s\n", i.Index, shapes(i.CoopMatFlexible))
		}
	}
	switch {
	case chosen:
		fmt.Fprintln(a.stdout, "* is the device that would be used; choose another with --device or VKEFFNET_DEVICE")
	case a.device != "":
		return fmt.Errorf("none of these devices can be used as --device %q", a.device)
	}
	return nil
}

func subgroups(i vk.Info) string {
	if i.SubgroupMin == i.SubgroupMax {
		return strconv.Itoa(int(i.SubgroupMin))
	}
	return fmt.Sprintf("%d-%d", i.SubgroupMin, i.SubgroupMax)
}

// coopMats names the first shape and counts the others.
func coopMats(list []vk.CoopMat) string {
	if len(list) == 0 {
		return "no"
	}
	c := list[0]
	s := fmt.Sprintf("%dx%dx%d %s->%s", c.M, c.N, c.K, c.A, c.D)
	if len(list) > 1 {
		s += fmt.Sprintf(" +%d", len(list)-1)
	}
	return s
}

// shapes lists cooperative matrices: "8x8x8 f16 f16 -> f32".
func shapes(list []vk.CoopMat) string {
	var out []string
	for _, c := range list {
		s := fmt.Sprintf("%dx%dx%d %s %s -> %s", c.M, c.N, c.K, c.A, c.B, c.D)
		if c.Invocations != 0 {
			s += fmt.Sprintf(" (%s of %d)", c.Scope, c.Invocations)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
