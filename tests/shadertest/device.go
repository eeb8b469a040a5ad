package shadertest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// LowerLimits are what VKEFFNET_TEST_LOWER=1 opens devices with: the least that Vulkan guarantees for workgroups and
// alignment, and memory small enough that kernels must split their work. A kernel that runs with them runs anywhere.
var LowerLimits = vk.Limits{
	Invocations: 128,
	SharedBytes: 16 << 10,
	OffsetAlign: 256,
	PushBytes:   128,
	MaxRange:    8 << 20,
	Heap:        256 << 20,
}

// open holds the devices of this process: opening one for every test would take longer than most tests.
var open struct {
	sync.Mutex
	devices []*vk.Device
	err     error
	done    bool
}

// Options are the options that Devices opens a device with, as the environment asks; the pipeline cache is off, so
// that a test neither reads nor writes the user's.
func Options() *vk.Options {
	o := &vk.Options{CacheDir: "off", Validate: os.Getenv("VKEFFNET_TEST_VALIDATE") == "1"}
	if os.Getenv("VKEFFNET_TEST_LOWER") == "1" {
		lower := LowerLimits
		o.Lower = &lower
		o.Disable = []string{"subgroup"}
	}
	return o
}

// Devices returns every usable device, opened once per process and shared by all tests. It fails the test when there
// is none or one cannot be opened. Tests must not close them; Main does.
func Devices(t testing.TB) []*vk.Device {
	t.Helper()
	open.Lock()
	defer open.Unlock()
	if !open.done {
		open.devices, open.err = openAll()
		open.done = true
	}
	if open.err != nil {
		t.Fatalf("shadertest: %v", open.err)
	}
	return open.devices
}

// openAll opens what the environment selects.
func openAll() ([]*vk.Device, error) {
	o := Options()
	infos, err := vk.Devices(o)
	if err != nil {
		return nil, err
	}
	pick := os.Getenv("VKEFFNET_TEST_DEVICE")
	var devices []*vk.Device
	var passed []string // why each device was passed over
	for _, info := range infos {
		switch {
		case info.Refused != "":
			passed = append(passed, info.Name+": "+info.Refused)
			continue
		case !selected(info, pick):
			passed = append(passed, fmt.Sprintf("%s: VKEFFNET_TEST_DEVICE=%s", info.Name, pick))
			continue
		}
		one := *o
		one.Device = strconv.Itoa(info.Index)
		dev, err := vk.Open(&one)
		if err != nil {
			return nil, fmt.Errorf("device %d, %s: %w", info.Index, info.Name, err)
		}
		devices = append(devices, dev)
	}
	if len(devices) == 0 {
		return nil, fmt.Errorf("%w to test on (passed over: %s); hint: apt-get install mesa-vulkan-drivers",
			vk.ErrNoDevice, strings.Join(passed, "; "))
	}
	return devices, nil
}

// selected reports whether pick, as in VKEFFNET_TEST_DEVICE, means this device.
func selected(info vk.Info, pick string) bool {
	return pick == "" || pick == strconv.Itoa(info.Index) || strings.EqualFold(pick, info.UUID) ||
		strings.Contains(strings.ToLower(info.Name), strings.ToLower(pick))
}

// ForEachDevice runs f as a subtest on every device of Devices, named by the device. When one fails it prints the
// command that runs it alone.
func ForEachDevice(t *testing.T, f func(t *testing.T, dev *vk.Device)) {
	t.Helper()
	for _, dev := range Devices(t) {
		name, _, _ := strings.Cut(dev.Info().Name, " (") // "llvmpipe (LLVM 15.0.6, 256 bits)"
		t.Run(name, func(t *testing.T) {
			f(t, dev)
			if err := dev.Err(); err != nil {
				t.Errorf("validation: %v", err)
			}
			if t.Failed() {
				t.Logf("reproduce: %s", reproducer(t))
			}
		})
	}
}

// Main runs the tests, closes the shared devices and says which they were. A package's TestMain is
//
//	func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	open.Lock()
	defer open.Unlock()
	for _, dev := range open.devices {
		fmt.Fprintf(os.Stderr, "shadertest: ran on %s (%s)\n", dev.Info().Name, dev.Info().Driver)
		if err := dev.Close(); err != nil {
			fmt.Fprintf(os.Stderr, "shadertest: closing %s: %v\n", dev.Info().Name, err)
			code = max(code, 1)
		}
	}
	open.devices, open.done = nil, false
	return code
}
