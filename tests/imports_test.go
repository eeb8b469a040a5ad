// Package tests holds what crosses packages. This file checks the rules that docs/architecture.md gives for the code
// itself: who may import whom, where unsafe code may be, how long a file may get.
package tests

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/seed-8d806880/vkeffnet/"

// order is the one direction of imports: a folder may import those before it.
var order = []string{"vk", "shaders", "kernels", "layers", "effnetv2", "train", "cmd"}

// goFile is a parsed Go file of the module.
type goFile struct {
	path    string // slash-separated, from the top of the repository
	pkg     string
	imports []string
	doc     bool // has a package comment
	written bool // by hand, not generated

}

func (f goFile) top() string { top, _, _ := strings.Cut(f.path, "/"); return top }

func (f goFile) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// goFiles parses the imports of every Go file of the repository.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	walk(t, func(path string, data []byte) {
		if filepath.Ext(path) != ".go" {
			return
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, data, parser.ImportsOnly|parser.ParseComments)
		require.NoError(t, err)
		f := goFile{path: path, pkg: tree.Name.Name, doc: tree.Doc != nil,
			written: !bytes.HasPrefix(data, []byte("// Code generated "))}
		for _, spec := range tree.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			f.imports = append(f.imports, name)
		}
		files = append(files, f)
	})
	require.NotEmpty(t, files)
	return files
}

// walk calls f for every file of the repository's source folders.
func walk(t *testing.T, f func(path string, data []byte)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != ".." && (strings.HasPrefix(name, ".") || name == "testdata" || path == filepath.Join("..", "build") || path == filepath.Join("..", "bin")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".comp", ".glsl", ".py", ".sh"}, filepath.Ext(name)) {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		f(filepath.ToSlash(rel), data)
		return err
	}))
}

func TestImportDirection(t *testing.T) {
	for _, f := range goFiles(t) {
		rank := slices.Index(order, f.top())
		for _, name := range f.imports {
			inner, ok := strings.CutPrefix(name, module)
			if !ok {
				continue
			}
			to, _, _ := strings.Cut(inner, "/")
			switch {
			case f.top() == "tools":
				t.Errorf("%s imports %s: tools import no package of the project", f.path, inner)
			case f.top() == "tests" || f.test() && to == "tests":
				// Tests may look at everything.
			case to == "tests":
				assert.Equal(t, "cmd", f.top(), "%s imports %s: only tests, and the command's selftest, may", f.path, inner)
			case rank < 0:
				t.Errorf("%s imports %s: its folder has no place in the order %v", f.path, inner, order)
			case to != f.top() && slices.Index(order, to) > rank && !f.test():
				t.Errorf("%s imports %s: against the order %v", f.path, inner, order)
			}
		}
	}
}

func TestUnsafeOnlyInVK(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.top() == "vk" {
			continue
		}
		for _, name := range []string{"unsafe", "C", "github.com/vulkan-go/vulkan"} {
			if slices.Contains(f.imports, name) && (f.written || name != "unsafe") {
				t.Errorf("%s imports %q: only package vk may, and the layout asserts of generated files", f.path, name)
			}
		}
	}
}

func TestFileLength(t *testing.T) {
	generated := map[string]bool{}
	for _, f := range goFiles(t) {
		generated[f.path] = !f.written
	}
	walk(t, func(path string, data []byte) {
		if lines := bytes.Count(data, []byte("\n")); lines > 800 && !generated[path] {
			t.Errorf("%s has %d lines, want at most 800: split it by concept", path, lines)
		}
	})
}

func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		dir := filepath.ToSlash(filepath.Dir(f.path))
		if !strings.HasSuffix(f.pkg, "_test") {
			documented[dir] = documented[dir] || f.doc
		}
	}
	for dir, ok := range documented {
		assert.True(t, ok, "package %s has no package comment", dir)
	}
}
