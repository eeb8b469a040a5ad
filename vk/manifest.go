package vk

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// The loader ignores a driver that it cannot load, but Debian 12's (1.3.239) fails as if out of memory when a
// driver's manifest is no JSON. vk then tries once more without such manifests.

// driverManifests are the files in which the loader finds drivers:
// https://github.com/KhronosGroup/Vulkan-Loader/blob/main/docs/LoaderDriverInterface.md
func driverManifests() []string {
	if named := cmp.Or(os.Getenv("VK_DRIVER_FILES"), os.Getenv("VK_ICD_FILENAMES")); named != "" {
		return filepath.SplitList(named)
	}
	home, _ := os.UserHomeDir()
	dirs := []string{cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))}
	dirs = append(dirs, filepath.SplitList(cmp.Or(os.Getenv("XDG_CONFIG_DIRS"), "/etc/xdg"))...)
	dirs = append(dirs, "/etc", cmp.Or(os.Getenv("XDG_DATA_HOME"), filepath.Join(home, ".local/share")))
	dirs = append(dirs, filepath.SplitList(cmp.Or(os.Getenv("XDG_DATA_DIRS"), "/usr/local/share:/usr/share"))...)
	files := filepath.SplitList(os.Getenv("VK_ADD_DRIVER_FILES"))
	for _, d := range dirs {
		found, _ := filepath.Glob(filepath.Join(d, "vulkan/icd.d/*.json"))
		files = append(files, found...)
	}
	return files
}

// damagedManifests parts the manifests into sound ones and those that exist and are no JSON.
func damagedManifests() (sound, damaged []string) {
	for _, f := range driverManifests() {
		if b, err := os.ReadFile(f); err == nil && !json.Valid(b) {
			damaged = append(damaged, f)
		} else {
			sound = append(sound, f)
		}
	}
	return sound, damaged
}

// withDrivers runs f while the loader sees these manifests only. The environment is the one way to tell it.
func withDrivers(manifests []string, f func()) {
	list := strings.Join(manifests, string(filepath.ListSeparator))
	for _, name := range []string{"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} {
		old, had := os.LookupEnv(name)
		os.Setenv(name, list)
		defer func() {
			if had {
				os.Setenv(name, old)
			} else {
				os.Unsetenv(name)
			}
		}()
	}
	f()
}
