package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// tuneCache is the file of a device's choices. Several processes may use one: a file is replaced as a whole, and what others
// wrote since it was read is kept unless two write at the same moment, when the earlier one's choices are timed again.
type tuneCache struct {
	path   string // empty: none
	device tuneDevice
}

// tuneDevice is what all choices of a file were made on.
type tuneDevice struct {
	Name    string `json:"name"`
	UUID    string `json:"uuid"`
	Driver  string `json:"driver"`
	Version string `json:"version"`
}

// tuneFile is the content of a file.
type tuneFile struct {
	Format  string               `json:"format"`
	Device  tuneDevice           `json:"device"`
	Entries map[string]tuneEntry `json:"entries"` // by tuning key
}

const tuneFormat = "vkeffnet tuning 1"

// tuneEntry is a choice and what it rests on. It holds as long as the operation's shaders and its list of candidates are the same.
type tuneEntry struct {
	Winner     string             `json:"winner"`
	Shaders    string             `json:"shaders"`    // hash of the SPIR-V
	Candidates string             `json:"candidates"` // hash of their names
	Times      map[string]float64 `json:"times_us"`   // medians of one dispatch in microseconds
	Rejected   map[string]string  `json:"rejected,omitempty"`
}

func newTuneEntry(c Tunable, candidates []string) *tuneEntry {
	return &tuneEntry{Winner: candidates[0], Shaders: shaderHash(c.op()), Candidates: hash(candidates...), Times: map[string]float64{}, Rejected: map[string]string{}}
}

// holds reports whether the choice is still one for c.
func (e *tuneEntry) holds(dev *vk.Device, c Tunable, candidates []string) bool {
	return e.Shaders == shaderHash(c.op()) && e.Candidates == hash(candidates...) && mayWin(dev, c, candidates, e.Winner)
}

// mayWin reports whether a choice can be one of c on the device.
func mayWin(dev *vk.Device, c Tunable, candidates []string, choice string) bool {
	return slices.Contains(candidates, choice) || choice == c.reference(dev)
}

// hash is short: it tells versions apart, nothing more.
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// shaderHash is of the shaders of an operation's kind, of which it may use several.
func shaderHash(op string) string {
	kind, _, _ := strings.Cut(op, " ")
	return shaderHashes[kind]()
}

var shaderHashes = map[string]func() string{
	"conv":      sync.OnceValue(func() string { return hashShaders("conv_") }),
	"depthwise": sync.OnceValue(func() string { return hashShaders("depthwise_") }),
}

func hashShaders(prefix string) string {
	var code []string
	for _, s := range shaders.All {
		if strings.HasPrefix(s.Name, prefix) {
			code = append(code, s.Name, string(s.SPIRV))
		}
	}
	return hash(code...)
}

func (c *tuneCache) open(dev *vk.Device, dir string, log *slog.Logger) {
	info := dev.Info()
	c.device = tuneDevice{Name: info.Name, UUID: info.UUID, Driver: info.Driver, Version: info.DriverVersion}
	if dir == "off" {
		return
	}
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			log.Warn("no tuning cache", "error", err)
			return
		}
		dir = filepath.Join(base, "vkeffnet")
	}
	c.path = filepath.Join(dir, "tuning-"+hash(c.device.Name, c.device.UUID, c.device.Driver, c.device.Version)+".json")
}

// load returns the entries of the file; none if there is no file or it is not one of this device.
func (c *tuneCache) load(log *slog.Logger) map[string]tuneEntry {
	none := map[string]tuneEntry{}
	if c.path == "" {
		return none
	}
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return none
	}
	var f tuneFile
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	switch {
	case err != nil:
	case f.Format != tuneFormat:
		err = fmt.Errorf("got format %q, want %q", f.Format, tuneFormat)
	case f.Device != c.device:
		err = fmt.Errorf("is of %s, driver %s %s", f.Device.Name, f.Device.Driver, f.Device.Version)
	case f.Entries == nil:
		return none
	}
	if err != nil {
		log.Warn("tuning cache ignored", "file", c.path, "error", err)
		return none
	}
	return f.Entries
}

// store adds entries to the file. It is written beside itself and renamed, so that no reader sees half of it.
func (c *tuneCache) store(made map[string]tuneEntry, log *slog.Logger) (err error) {
	if c.path == "" || len(made) == 0 {
		return nil
	}
	file := tuneFile{Format: tuneFormat, Device: c.device, Entries: c.load(log)}
	maps.Copy(file.Entries, made)
	data, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), "tuning-*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(data, '\n'))
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
