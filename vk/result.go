package vk

import (
	"fmt"
	"sync/atomic"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

// results is the one place through which every VkResult goes.
type results struct {
	fault    *Fault
	n        atomic.Int64
	messages *raw.Messages // nil without validation
}

// poll makes a call whose non-negative results mean something. A call that the fault hits is not made, so
// that what it would have created does not leak.
func (r *results) poll(call string, f func() vulkan.Result) (vulkan.Result, error) {
	var res vulkan.Result
	if n := r.n.Add(1); r.fault != nil && n == r.fault.Nth {
		res = vulkan.Result(r.fault.Code)
	} else {
		res = f()
	}
	return res, r.judge(call, res)
}

// wait is poll for calls that create nothing and that have to have happened before memory may be freed: one
// that the fault hits is made, and its result replaced.
func (r *results) wait(call string, f func() vulkan.Result) (vulkan.Result, error) {
	res := f()
	if n := r.n.Add(1); r.fault != nil && n == r.fault.Nth {
		res = vulkan.Result(r.fault.Code)
	}
	return res, r.judge(call, res)
}

func (r *results) judge(call string, res vulkan.Result) error {
	if res < 0 {
		return &Error{Call: call, Result: Result(res)}
	}
	return r.said(call)
}

// do makes a call that either succeeds or fails; detail, if any, says what was attempted.
func (r *results) do(call string, f func() vulkan.Result, detail ...any) error {
	res, err := r.poll(call, f)
	if err == nil && res != vulkan.Success {
		err = &Error{Call: call, Result: Result(res)}
	}
	if e, ok := err.(*Error); ok && len(detail) > 0 {
		e.Detail = fmt.Sprint(detail...)
	}
	return err
}

// said returns what the validation layer has said since it was last asked, or nil.
func (r *results) said(call string) error {
	if r.messages == nil {
		return nil
	}
	if m := r.messages.Take(); len(m) > 0 {
		return &ValidationError{Call: call, Messages: m}
	}
	return nil
}

// object is a kind of Vulkan object that is counted.
type object int

const (
	objInstance object = iota
	objMessenger
	objDevice
	objMemory
	objBuffer
	objShader
	objPipeline
	objPipelineLayout
	objSetLayout
	objDescriptorPool
	objCommandPool
	objQueryPool
	objFence
	objCache
	objects
)

var objectNames = [objects]string{"instances", "messengers", "devices", "memory blocks", "buffers", "shader modules",
	"pipelines", "pipeline layouts", "set layouts", "descriptor pools", "command pools", "query pools", "fences", "pipeline caches"}

// census counts the Vulkan objects that exist and the bytes of memory that are allocated.
type census struct {
	live  [objects]atomic.Int64
	bytes atomic.Int64
}

func (c *census) add(o object)    { c.live[o].Add(1) }
func (c *census) remove(o object) { c.live[o].Add(-1) }

// left names what still exists; empty after a clean Close.
func (c *census) left() []string {
	var out []string
	for o := range c.live {
		if n := c.live[o].Load(); n != 0 {
			out = append(out, fmt.Sprintf("%d %s", n, objectNames[o]))
		}
	}
	if n := c.bytes.Load(); n != 0 {
		out = append(out, fmt.Sprintf("%d bytes", n))
	}
	return out
}
