package vk

import "errors"

var errTODO = errors.New("vk: not there yet")

// Device is an open Vulkan device.
type Device struct{ limits Limits }

// Devices lists every Vulkan device.
func Devices(o *Options) ([]Info, error) { return nil, errTODO }

// Open opens a device.
func Open(o *Options) (*Device, error) { return nil, errTODO }

// Info describes the device.
func (d *Device) Info() Info { return Info{} }

// Limits are the limits to respect, after lowering.
func (d *Device) Limits() Limits { return d.limits }

// Has reports whether the device has a feature or extension and it is not hidden: "shaderFloat16", "subgroup".
func (d *Device) Has(feature string) bool { return false }

// IsCPU reports whether the device is a CPU driver.
func (d *Device) IsCPU() bool { return true }

// Err is the first validation message not yet returned by a call.
func (d *Device) Err() error { return nil }

// Close releases the device and all that was created on it.
func (d *Device) Close() error { return nil }

// Upload copies data to dst; it returns when the device's memory has it.
func (d *Device) Upload(dst Range, data []byte) error { return errTODO }

// Download copies src into data.
func (d *Device) Download(src Range, data []byte) error { return errTODO }
