package vk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// diskCache is the file of a device's pipeline cache. Its header is ours: a driver's own check of the data
// does not cover the driver's version nor damage on disk.
type diskCache struct {
	path   string // empty: none
	header []byte
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
	return data
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
