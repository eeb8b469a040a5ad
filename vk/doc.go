// Package vk runs compute shaders on a Vulkan device: it opens the loader, chooses a device, gives memory,
// records dispatches as data and replays them.
//
// A [Recorder] collects [Call]s, copies and fills; [Recorder.Build] turns them into pipelines, descriptor sets,
// exact barriers and command buffers; the [Program] it returns is submitted as often as wanted. The package knows
// nothing of neural networks and imports nothing of this module.
//
// Vulkan 1.1 is required; see https://registry.khronos.org/vulkan/specs/1.3/html/ for the terms used here.
package vk
