package vk

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	vulkan "github.com/vulkan-go/vulkan"
	"golang.org/x/sync/errgroup"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// PipelineStatistics is what the driver's compiler tells about one pipeline.
type PipelineStatistics struct {
	Shader       string
	Spec         []uint32 // values of the specialization constants
	Label        string   // of the first call that uses the pipeline
	Calls        int      // how many calls use it
	SubgroupSize uint32   // 0 if the driver does not say
	// Values are by the driver's own names. RADV's are in
	// https://gitlab.freedesktop.org/mesa/mesa/-/blob/mesa-22.3.6/src/amd/vulkan/radv_shader.c.
	Values map[string]float64
}

// Statistics compiles every pipeline of the recording anew, past all caches of this package, and returns what the
// driver's compiler says about each, in the order of the first call. The buffers need no memory and nothing runs, so
// that a device opened with Options.CompileOnly will do. It returns an *UnsupportedError if the device lacks
// VK_KHR_pipeline_executable_properties, and the error of the first pipeline that does not compile.
func (r *Recorder) Statistics(ctx context.Context) ([]PipelineStatistics, error) {
	d := r.d
	if r.err != nil {
		return nil, r.err
	}
	if !d.Has("pipelineExecutableInfo") {
		return nil, &UnsupportedError{"Recorder.Statistics", "pipelineExecutableInfo"}
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return nil, errClosed
	}
	var out []PipelineStatistics
	var calls []*Call
	index := map[pipelineKey]int{}
	for _, o := range r.ops {
		if o.call == nil {
			continue
		}
		key := keyOf(o.call)
		i, known := index[key]
		if !known {
			i = len(out)
			index[key] = i
			calls = append(calls, o.call)
			out = append(out, PipelineStatistics{Shader: o.call.Shader.Name, Spec: specWords(o.call), Label: o.call.label()})
		}
		out[i].Calls++
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range calls {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := d.measure(c, &out[i]); err != nil {
				return fmt.Errorf("vk: %s: shader %s: %w", r.name, c.Shader.Name, err)
			}
			return nil
		})
	}
	return out, g.Wait()
}

// measure compiles the pipeline of c and reads its statistics.
func (d *Device) measure(c *Call, s *PipelineStatistics) error {
	_, layout, err := d.pipelines.layout(d, c.Shader.buffers(), c.Shader.pushBytes())
	if err != nil {
		return err
	}
	pipeline, err := d.compile(c, layout, nil, raw.CaptureStatistics)
	if err != nil {
		return err
	}
	defer func() {
		vulkan.DestroyPipeline(d.handle, pipeline, nil)
		d.remove(objPipeline)
	}()
	var n int
	err = d.do("vkGetPipelineExecutablePropertiesKHR", func() (r vulkan.Result) {
		n, s.SubgroupSize, r = raw.Executables(d.instance.handle, d.handle, pipeline)
		return
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("the driver lists no executables of the pipeline")
	}
	var list []raw.Statistic
	err = d.do("vkGetPipelineExecutableStatisticsKHR", func() (r vulkan.Result) {
		list, r = raw.Statistics(d.instance.handle, d.handle, pipeline)
		return
	})
	s.Values = map[string]float64{}
	for _, v := range list {
		s.Values[v.Name] = v.Value
	}
	return err
}
