package main

import (
	"errors"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// hintedError carries the hint that stands below an error.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

// Hint is the text below the error.
func (e *hintedError) Hint() string { return e.hint }

func withHint(err error, hint string) error { return &hintedError{err, hint} }

// hintFor says what a user can do about err; empty if nothing better than the error's own text is known.
func hintFor(err error) string {
	var unsupported *vk.UnsupportedError
	var hinted interface{ Hint() string } // ours, and errors of the packages below that know better
	switch {
	case errors.As(err, &hinted):
		return hinted.Hint()
	case errors.As(err, &unsupported) && unsupported.Needs == "storageBuffer16BitAccess":
		return "take --precision f32, which every device computes; --no-f16 makes a device lack it"
	case errors.Is(err, vk.ErrDeviceLost):
		return "try --no-coopmat, --no-f16 or --no-fuse, or a smaller --batch; vkeffnet selftest tells which kernel is at fault"
	case errors.Is(err, vk.ErrOutOfMemory):
		return "take a smaller --batch; vkeffnet plan tells the largest that fits"
	}
	return ""
}
