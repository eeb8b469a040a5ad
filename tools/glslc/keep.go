package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// hashLine is followed by the sourceHash in a file that not every compiler can generate again.
const hashLine = "// sha256 of the source, its includes and its variants: "

var includeLine = regexp.MustCompile(`(?m)^[ \t]*#[ \t]*include[ \t]+"([^"]+)"`)

// sourceHash is of all that the generated files of a source depend on, except for the compiler.
func sourceHash(dir string, g *sourceGroup) (string, error) {
	sum := sha256.New()
	seen := map[string]bool{}
	var add func(path string) error
	add = func(path string) error {
		if seen[path] {
			return nil
		}
		seen[path] = true
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(path), len(text), text)
		for _, m := range includeLine.FindAllSubmatch(text, -1) {
			if err := add(filepath.Join(dir, "include", string(m[1]))); err != nil {
				return err
			}
		}
		return nil
	}
	if err := add(filepath.Join(dir, g.source())); err != nil {
		return "", err
	}
	for _, v := range g.variants {
		fmt.Fprintf(sum, "%q %q %q %q %q\n", v.Name, v.Description, v.Defines, v.Needs, v.target()) // maps print sorted
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// keep adds the generated files of a source, for which c is too old, to files as they lie in dir. The error says so if
// they are of another source.
func keep(dir string, g *sourceGroup, c *compiler, files map[string][]byte) error {
	hash, err := sourceHash(dir, g)
	if err != nil {
		return err
	}
	stale := func(what string) error {
		return diagnostics{{filepath.Join(dir, g.source()), 1, "error", fmt.Sprintf(
			"%s, and this is %s, which cannot compile it; hint: go run ./tools/glslc -newer PROGRAM, with glslang %d or newer", what, c.version, g.glslang())}}
	}
	names := []string{"z" + g.stem() + ".go"}
	for _, v := range g.variants {
		names = append(names, "spirv/"+v.Name+".spv")
	}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if errors.Is(err, os.ErrNotExist) {
			return stale(name + " is missing")
		} else if err != nil {
			return err
		}
		files[name] = data
	}
	if got := recordedHash(files[names[0]]); got != hash {
		return stale(fmt.Sprintf("%s was generated from another source: hash %.12s, want %.12s", names[0], got, hash))
	}
	return nil
}

// recordedHash is the hash that a generated file names.
func recordedHash(file []byte) string {
	r := bytes.NewBuffer(file)
	for {
		line, err := r.ReadString('\n')
		if hash, ok := strings.CutPrefix(strings.TrimSpace(line), hashLine); ok {
			return hash
		}
		if err == io.EOF {
			return ""
		}
	}
}
