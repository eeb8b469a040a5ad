package vk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	vulkan "github.com/vulkan-go/vulkan"
)

// saver writes the pipeline cache to disk in the background, after a Build that created pipelines: a process that is killed
// later need not compile again. Builds that follow one another fast, as when kernels are tuned, are written together.
type saver struct {
	disk  diskCache
	group sync.WaitGroup
	quit  chan struct{} // closed when no Build follows

	mu    sync.Mutex
	count int   // pipelines that the file knows of
	busy  bool  // a goroutine is writing
	off   bool  // it has failed
	err   error // the first one of a Vulkan call
}

// saveEvery is the least time between two writes.
const saveEvery = 500 * time.Millisecond

// saveSoon writes the cache if pipelines have been created since it was last written.
func (ps *pipelines) saveSoon(d *Device) {
	s := &ps.saver
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.off || s.disk.path == "" || ps.cache == nil || d.CompileStats().Pipelines == s.count {
		return
	}
	s.busy = true
	s.group.Add(1)
	go func() {
		defer s.group.Done()
		for {
			s.mu.Lock()
			n := d.CompileStats().Pipelines
			if n == s.count || s.off {
				s.busy = false
				s.mu.Unlock()
				return
			}
			s.count = n
			s.mu.Unlock()
			if err := s.disk.save(d, ps.cache); err != nil {
				s.fail(d, err)
			}
			select {
			case <-time.After(saveEvery):
			case <-s.quit:
			}
		}
	}()
}

// fail gives up. A file that cannot be written costs time at the next start, and nothing else.
func (s *saver) fail(d *Device, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.As(err, new(*Error)) || errors.As(err, new(*ValidationError)) {
		s.err = err
	} else {
		d.log.Warn("pipeline cache not written", "error", err)
	}
	s.off = true
}

// wait waits until all is written; no Build may follow.
func (s *saver) wait() error {
	close(s.quit)
	s.group.Wait()
	return s.err
}

// diskCache is the file of a device's pipeline cache. Its header is ours: a driver's own check of the data
// does not cover the driver's version nor damage on disk.
type diskCache struct {
	path   string // empty: none
	header []byte
	sum    [sha256.Size]byte // of the data last read or written: what else is found there is another process's
}

const cacheMagic = "vkeffnet pipelines 1\n"

// load returns the data of an earlier run, or nil if there is none or it is not for exactly this driver.
func (c *diskCache) load(d *Device, dir string) []byte {
	if dir == "off" {
		return nil
	}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			d.log.Warn("no pipeline cache", "error", err)
			return nil
		}
		dir = filepath.Join(base, "vkeffnet")
	}
	p := d.physical
	c.header = []byte(cacheMagic)
	for _, w := range []uint32{p.vendorID, p.deviceID, p.driverVersion} {
		c.header = binary.LittleEndian.AppendUint32(c.header, w)
	}
	c.header = append(c.header, p.cacheUUID[:]...)
	// Drivers of one device, such as an old and a new lavapipe, keep files of their own.
	c.path = filepath.Join(dir, fmt.Sprintf("pipelines-%x", sha256.Sum256(c.header))[:26]+".bin")
	file, err := os.ReadFile(c.path)
	if err != nil {
		if !os.IsNotExist(err) {
			d.log.Warn("pipeline cache not read", "error", err)
		}
		return nil
	}
	data, ok := c.open(file)
	if !ok {
		d.log.Warn("pipeline cache ignored: damaged, or of another driver", "file", c.path)
	}
	c.sum = sha256.Sum256(data)
	return data
}

// save writes a cache, with what another process has added to the file since. Two processes that save in the same
// instant may lose one's share, which will be compiled again.
func (c *diskCache) save(d *Device, cache vulkan.PipelineCache) error {
	data, err := d.pipelineCacheData(cache)
	if err != nil {
		return err
	}
	file, _ := os.ReadFile(c.path) // none, or a damaged one, is replaced
	theirs, _ := c.open(file)
	sum := sha256.Sum256(theirs)
	if len(theirs) > 0 && sum != c.sum {
		if data, err = d.merged(theirs, cache); err != nil {
			return err
		}
	}
	c.sum = sha256.Sum256(data)
	if len(data) == 0 || c.sum == sum {
		return nil
	}
	return c.store(d, data)
}

// merged is the data of a cache together with data of the file.
func (d *Device) merged(data []byte, with vulkan.PipelineCache) ([]byte, error) {
	both, err := d.newPipelineCache(data)
	defer d.freePipelineCache(both)
	if err != nil {
		return nil, err
	}
	err = d.do("vkMergePipelineCaches", func() vulkan.Result {
		return vulkan.MergePipelineCaches(d.handle, both, 1, []vulkan.PipelineCache{with})
	})
	if err != nil {
		return nil, err
	}
	return d.pipelineCacheData(both)
}

// pipelineCacheData is what a cache holds, as its driver writes it.
func (d *Device) pipelineCacheData(cache vulkan.PipelineCache) ([]byte, error) {
	for {
		var n uint
		err := d.do("vkGetPipelineCacheData", func() vulkan.Result { return vulkan.GetPipelineCacheData(d.handle, cache, &n, nil) })
		if err != nil || n == 0 {
			return nil, err
		}
		data := make([]byte, n)
		r, err := d.poll("vkGetPipelineCacheData", func() vulkan.Result {
			return vulkan.GetPipelineCacheData(d.handle, cache, &n, unsafe.Pointer(&data[0]))
		})
		if err != nil {
			return nil, err
		}
		if r != vulkan.Incomplete {
			return data[:n], nil
		}
	}
}

// open checks header and checksum.
func (c *diskCache) open(file []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(file, c.header)
	if !ok || len(rest) < sha256.Size {
		return nil, false
	}
	data := rest[sha256.Size:]
	sum := sha256.Sum256(data)
	if !bytes.Equal(sum[:], rest[:sha256.Size]) {
		return nil, false
	}
	return data, true
}

// store writes the file beside itself and renames it, so that no reader sees half of it.
func (c *diskCache) store(d *Device, data []byte) (err error) {
	sum := sha256.Sum256(data)
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return fmt.Errorf("vk: pipeline cache: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), "pipelines-*.tmp")
	if err != nil {
		return fmt.Errorf("vk: pipeline cache: %w", err)
	}
	_, err = f.Write(bytes.Join([][]byte{c.header, sum[:], data}, nil))
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("vk: pipeline cache: %w", err)
	}
	d.log.Debug("pipeline cache written", "file", c.path, "bytes", len(data))
	return nil
}
