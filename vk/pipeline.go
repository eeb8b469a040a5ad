package vk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
	"golang.org/x/sync/errgroup"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// pipelines are those of a device: each (shader, specialization, subgroup size) is created once and lives until Close.
type pipelines struct {
	cache vulkan.PipelineCache
	saver saver

	mu         sync.Mutex
	setLayouts map[int]vulkan.DescriptorSetLayout  // by number of bindings
	layouts    map[[2]uint32]vulkan.PipelineLayout // by number of bindings, bytes of push constants
	all        map[pipelineKey]*pipeline
	stats      CompileStats
}

// CompileStats say what creating pipelines has cost so far.
type CompileStats struct {
	Pipelines int           // created, be it by compiling or from a cache
	Work      time.Duration // in vkCreateComputePipelines, over all threads
	Wall      time.Duration // that Builds waited for it
	Threads   int           // at most so many at a time
}

// CompileStats adds up all Builds of the device.
func (d *Device) CompileStats() CompileStats {
	ps := &d.pipelines
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s := ps.stats
	s.Threads = runtime.GOMAXPROCS(0)
	return s
}

type pipelineKey struct {
	shader   *Shader
	spec     string // words, little endian
	subgroup uint32 // Call.SubgroupSize
}

// pipeline is ready when done is closed.
type pipeline struct {
	done   chan struct{}
	err    error
	handle vulkan.Pipeline
	layout vulkan.PipelineLayout
	sets   vulkan.DescriptorSetLayout
}

func (ps *pipelines) init(d *Device, dir string) error {
	ps.setLayouts = map[int]vulkan.DescriptorSetLayout{}
	ps.layouts = map[[2]uint32]vulkan.PipelineLayout{}
	ps.all = map[pipelineKey]*pipeline{}
	ps.saver.quit = make(chan struct{})
	data := ps.saver.disk.load(d, dir)
	cache, err := d.newPipelineCache(data)
	ps.cache = cache
	return err
}

// newPipelineCache creates a cache that holds what data, which may be empty, holds.
func (d *Device) newPipelineCache(data []byte) (cache vulkan.PipelineCache, err error) {
	info := vulkan.PipelineCacheCreateInfo{SType: vulkan.StructureTypePipelineCacheCreateInfo}
	if len(data) > 0 {
		info.InitialDataSize, info.PInitialData = uint(len(data)), unsafe.Pointer(&data[0])
	}
	defer info.Free()
	var pin runtime.Pinner
	if len(data) > 0 {
		pin.Pin(&data[0])
	}
	defer pin.Unpin()
	err = d.do("vkCreatePipelineCache", func() vulkan.Result { return vulkan.CreatePipelineCache(d.handle, &info, nil, &cache) })
	if cache != nil {
		d.add(objCache)
	}
	return cache, err
}

func (d *Device) freePipelineCache(cache vulkan.PipelineCache) {
	if cache != nil {
		vulkan.DestroyPipelineCache(d.handle, cache, nil)
		d.remove(objCache)
	}
}

// release destroys all pipelines; no program may be left.
func (ps *pipelines) release(d *Device) {
	for _, p := range ps.all {
		vulkan.DestroyPipeline(d.handle, p.handle, nil)
		d.remove(objPipeline)
	}
	for _, l := range ps.layouts {
		vulkan.DestroyPipelineLayout(d.handle, l, nil)
		d.remove(objPipelineLayout)
	}
	for _, l := range ps.setLayouts {
		vulkan.DestroyDescriptorSetLayout(d.handle, l, nil)
		d.remove(objSetLayout)
	}
	ps.all, ps.layouts, ps.setLayouts = nil, nil, nil
	d.freePipelineCache(ps.cache)
	ps.cache = nil
}

// specWords are the values of a call's specialization constants.
func specWords(c *Call) []uint32 {
	if c.Spec != nil {
		return c.Spec
	}
	words := make([]uint32, len(c.Shader.Spec))
	for i, s := range c.Shader.Spec {
		words[i] = s.Default
	}
	return words
}

func keyOf(c *Call) pipelineKey {
	var b []byte
	for _, w := range specWords(c) {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return pipelineKey{c.Shader, string(b), c.SubgroupSize}
}

// getAll returns the pipelines of calls, creating those that are missing on as many threads as there are CPUs.
func (ps *pipelines) getAll(ctx context.Context, d *Device, calls []*Call, progress func(done, total int)) ([]*pipeline, error) {
	for {
		out, err := ps.tryAll(ctx, d, calls, progress)
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			continue // another Build was to create one of them and has been cancelled
		}
		return out, err
	}
}

func (ps *pipelines) tryAll(ctx context.Context, d *Device, calls []*Call, progress func(done, total int)) ([]*pipeline, error) {
	out := make([]*pipeline, len(calls))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	start := time.Now()
	ps.mu.Lock()
	var missing []*Call
	for i, c := range calls {
		key := keyOf(c)
		p := ps.all[key]
		if p == nil {
			p = &pipeline{done: make(chan struct{})}
			ps.all[key] = p
			missing = append(missing, c)
		}
		out[i] = p
	}
	ps.mu.Unlock()
	created := counter{total: len(missing), tell: progress}
	if len(missing) > 0 {
		created.add(0)
	}
	for _, c := range missing {
		g.Go(func() error {
			defer created.add(1)
			return ps.create(ctx, d, c)
		})
	}
	err := g.Wait()
	for _, p := range out { // another Build may be creating some of them
		<-p.done
		if err == nil {
			err = p.err
		}
	}
	if len(missing) > 0 {
		ps.mu.Lock()
		ps.stats.Wall += time.Since(start)
		ps.mu.Unlock()
	}
	return out, err
}

// counter tells how far a Build is; tell may be nil.
type counter struct {
	mu          sync.Mutex
	done, total int
	tell        func(done, total int)
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.tell != nil {
		c.tell(c.done, c.total)
	}
}

// create makes the pipeline of c, which all holds unfinished. A failed one is taken out again, so that a
// later Build tries anew.
func (ps *pipelines) create(ctx context.Context, d *Device, c *Call) (err error) {
	key := keyOf(c)
	ps.mu.Lock()
	p := ps.all[key]
	ps.mu.Unlock()
	defer func() {
		if err != nil {
			p.err = fmt.Errorf("vk: shader %s: %w", c.Shader.Name, err)
			err = p.err
			ps.mu.Lock()
			delete(ps.all, key)
			ps.mu.Unlock()
		}
		close(p.done)
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.sets, p.layout, err = ps.layout(d, c.Shader.buffers(), c.Shader.pushBytes()); err != nil {
		return err
	}
	start := time.Now()
	p.handle, err = d.compile(c, p.layout, ps.cache, 0)
	ps.mu.Lock()
	ps.stats.Pipelines++
	ps.stats.Work += time.Since(start)
	ps.mu.Unlock()
	return err
}

// compile creates the pipeline of c with VkPipelineCreateFlagBits.
func (d *Device) compile(c *Call, layout vulkan.PipelineLayout, cache vulkan.PipelineCache, flags uint32) (handle vulkan.Pipeline, err error) {
	code := words(c.Shader.SPIRV)
	info := vulkan.ShaderModuleCreateInfo{SType: vulkan.StructureTypeShaderModuleCreateInfo, CodeSize: uint(4 * len(code)), PCode: code}
	defer info.Free()
	var pin runtime.Pinner
	pin.Pin(&code[0])
	defer pin.Unpin()
	var module vulkan.ShaderModule
	err = d.do("vkCreateShaderModule", func() vulkan.Result { return vulkan.CreateShaderModule(d.handle, &info, nil, &module) })
	if module != nil {
		d.add(objShader)
		defer func() {
			vulkan.DestroyShaderModule(d.handle, module, nil)
			d.remove(objShader)
		}()
	}
	if err != nil {
		return nil, err
	}
	ids := make([]uint32, len(c.Shader.Spec))
	for i, s := range c.Shader.Spec {
		ids[i] = s.ID
	}
	subgroup := raw.Subgroup{Full: c.SubgroupSize != 0 && d.Has("computeFullSubgroups")}
	if d.Has("subgroupSizeControl") { // without it the device has one size only, that of c
		subgroup.Size = c.SubgroupSize
	}
	start := time.Now()
	err = d.do("vkCreateComputePipelines", func() (r vulkan.Result) {
		handle, r = raw.CreatePipeline(d.handle, cache, module, layout, ids, specWords(c), subgroup, flags)
		return
	})
	if handle != nil {
		d.add(objPipeline)
	}
	if err != nil && handle != nil { // a validation message about a pipeline that was made
		vulkan.DestroyPipeline(d.handle, handle, nil)
		d.remove(objPipeline)
		handle = nil
	}
	d.log.Debug("pipeline created", "shader", c.Shader.Name, "spec", specWords(c), "subgroup", c.SubgroupSize, "took", time.Since(start))
	return handle, err
}

// layout returns the layouts for n storage buffers and a block of push constants.
func (ps *pipelines) layout(d *Device, n int, push uint32) (vulkan.DescriptorSetLayout, vulkan.PipelineLayout, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	set := ps.setLayouts[n]
	if set == nil {
		err := d.do("vkCreateDescriptorSetLayout", func() (r vulkan.Result) { set, r = raw.CreateSetLayout(d.handle, uint32(n)); return })
		if set != nil {
			d.add(objSetLayout)
			ps.setLayouts[n] = set
		}
		if err != nil {
			return nil, nil, err
		}
	}
	key := [2]uint32{uint32(n), push}
	layout := ps.layouts[key]
	if layout == nil {
		err := d.do("vkCreatePipelineLayout", func() (r vulkan.Result) { layout, r = raw.CreateLayout(d.handle, set, push); return })
		if layout != nil {
			d.add(objPipelineLayout)
			ps.layouts[key] = layout
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return set, layout, nil
}

// words views SPIR-V as 32-bit words; embedded bytes need not be aligned for that.
func words(b []byte) []uint32 {
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out
}

// errSPIRV says that a module cannot be one.
var errSPIRV = errors.New("the SPIR-V is empty, cut short, or not little-endian SPIR-V")

// checkSPIRV looks at the header only: https://registry.khronos.org/SPIR-V/specs/unified1/SPIRV.html#_physical_layout_of_a_spir_v_module_and_instruction
func checkSPIRV(b []byte) error {
	if len(b) < 20 || len(b)%4 != 0 || !slices.Equal(b[:4], []byte{0x03, 0x02, 0x23, 0x07}) {
		return errSPIRV
	}
	return nil
}
