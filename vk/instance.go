package vk

import (
	"errors"
	"fmt"

	vulkan "github.com/vulkan-go/vulkan"

	"github.com/seed-8d806880/vkeffnet/vk/internal/raw"
)

const (
	api11           = 1<<22 | 1<<12
	api12           = 1<<22 | 2<<12
	api13           = 1<<22 | 3<<12
	api14           = 1<<22 | 4<<12
	validationLayer = "VK_LAYER_KHRONOS_validation"
	debugUtils      = "VK_EXT_debug_utils"
)

// instance is an open VkInstance; each Device has its own.
type instance struct {
	results
	census
	handle   vulkan.Instance
	api      uint32 // the version asked for
	layer    uint32 // the version that the validation layer knows; 0 without validation
	listened bool
}

// openInstance opens the loader and creates an instance.
func openInstance(o *Options) (*instance, error) {
	if err := raw.Open(); err != nil {
		return nil, fmt.Errorf("vk: %w: %s; %s", ErrNoLoader, err, install)
	}
	in := &instance{results: results{fault: o.Fault}}
	if err := in.create(o); err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

func (in *instance) create(o *Options) error {
	var version uint32
	err := in.do("vkEnumerateInstanceVersion", func() (r vulkan.Result) { version, r = raw.InstanceVersion(); return })
	if err != nil {
		return err
	}
	if version < api11 {
		return fmt.Errorf("vk: %w: the loader has Vulkan %s, want 1.1 or newer; %s", ErrNoLoader, vulkan.Version(version), install)
	}
	var layers, extensions []string
	if o.Validate {
		if layers, extensions, err = in.validation(); err != nil {
			return err
		}
		in.messages = raw.NewMessages()
	}
	in.api = min(version, api13)
	create := func() error {
		return in.do("vkCreateInstance", func() (r vulkan.Result) {
			in.handle, r = raw.CreateInstance(in.api, "vkeffnet", layers, extensions, in.messages)
			return
		})
	}
	if err = create(); errors.Is(err, ErrOutOfMemory) {
		if sound, damaged := damagedManifests(); len(damaged) > 0 && len(sound) > 0 {
			o.Log.Warn("driver manifests that are not JSON are left out", "files", damaged)
			withDrivers(sound, func() { err = create() })
		}
	}
	if e := new(Error); errors.As(err, &e) && e.Result == Result(vulkan.ErrorIncompatibleDriver) {
		return fmt.Errorf("vk: %w: %w; %s", ErrNoDevice, err, install)
	}
	if in.handle != nil {
		in.add(objInstance)
	}
	if err != nil {
		return err
	}
	if err := raw.Load(in.handle); err != nil {
		return fmt.Errorf("vk: %w", err)
	}
	if in.messages != nil {
		err := in.do("vkCreateDebugUtilsMessengerEXT", func() vulkan.Result { return in.messages.Listen(in.handle) })
		if err != nil {
			return err
		}
		in.add(objMessenger)
		in.listened = true
	}
	return nil
}

// validation returns the layer and the extensions that validation needs, if they are installed.
func (in *instance) validation() (layers, extensions []string, err error) {
	err = in.do("vkEnumerateInstanceLayerProperties", func() (r vulkan.Result) {
		in.layer, r = raw.LayerVersion(validationLayer)
		return
	})
	if err != nil {
		return nil, nil, err
	}
	if in.layer == 0 {
		return nil, nil, &UnsupportedError{"Options.Validate", validationLayer + " (apt-get install vulkan-validationlayers)"}
	}
	return []string{validationLayer}, []string{debugUtils, "VK_EXT_validation_features"}, nil
}

// close destroys the instance; it returns the last messages.
func (in *instance) close() error {
	if in.listened {
		in.messages.Unlisten(in.handle)
		in.remove(objMessenger)
		in.listened = false
	}
	if in.handle != nil {
		vulkan.DestroyInstance(in.handle, nil)
		in.remove(objInstance)
		in.handle = nil
	}
	if in.messages == nil {
		return nil
	}
	in.messages.Close()
	return in.said("vkDestroyInstance")
}

// physicalDevices lists the devices of all drivers.
func (in *instance) physicalDevices() ([]vulkan.PhysicalDevice, error) {
	for {
		var n uint32
		err := in.do("vkEnumeratePhysicalDevices", func() vulkan.Result {
			return vulkan.EnumeratePhysicalDevices(in.handle, &n, nil)
		})
		if err != nil || n == 0 {
			return nil, err
		}
		out := make([]vulkan.PhysicalDevice, n)
		r, err := in.poll("vkEnumeratePhysicalDevices", func() vulkan.Result {
			return vulkan.EnumeratePhysicalDevices(in.handle, &n, out)
		})
		if r != vulkan.Incomplete {
			return out[:n], err
		}
	}
}
