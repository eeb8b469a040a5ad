package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// diagnostic is one message about a place in a source.
type diagnostic struct {
	file string
	line int
	kind string // "error" or "warning"
	text string
}

// diagnostics is an error when one of them is.
type diagnostics []diagnostic

func (ds diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = fmt.Sprintf("%s:%d: %s: %s", d.file, d.line, d.kind, d.text)
	}
	return strings.Join(lines, "\n")
}

func (ds diagnostics) failed() bool {
	return slices.ContainsFunc(ds, func(d diagnostic) bool { return d.kind == "error" })
}

// unique drops repeats, which the variants of one source produce.
func (ds diagnostics) unique() diagnostics {
	seen := map[diagnostic]bool{}
	return slices.DeleteFunc(ds, func(d diagnostic) bool {
		again := seen[d]
		seen[d] = true
		return again
	})
}

// compiler is an installed GLSL compiler.
type compiler struct {
	path      string
	validator string // spirv-val
	version   string // "glslangValidator 11:12.0.0", for the header of generated files
	glslang   int    // major version of glslang; 0: it does not say
	shaderc   bool   // shaderc's glslc, with its own flags and messages
}

var versionLine = regexp.MustCompile(`(?m)^(?:Glslang Version: (?:\d+:)?(\d+)|shaderc )\S*`)

// findCompiler looks for the named program, or for one of the usual names.
func findCompiler(ctx context.Context, name string) (*compiler, error) {
	names := []string{"glslangValidator", "glslang", "glslc"}
	if name != "" {
		names = []string{name}
	}
	for _, n := range names {
		path, err := exec.LookPath(n)
		if err != nil {
			continue
		}
		c := &compiler{path: path}
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		m := versionLine.FindSubmatch(out)
		if err != nil || m == nil {
			return nil, fmt.Errorf("%s --version: got %q, want the version of glslang or shaderc", path, firstLine(out))
		}
		c.shaderc = bytes.HasPrefix(out, []byte("shaderc"))
		c.version = "glslangValidator " + strings.TrimPrefix(string(m[0]), "Glslang Version: ")
		if c.shaderc {
			c.version = string(m[0])
		} else {
			c.glslang, _ = strconv.Atoi(string(m[1]))
		}
		// A module of new extensions needs a new spirv-val: the one beside the compiler comes first.
		c.validator, err = exec.LookPath(filepath.Join(filepath.Dir(path), "spirv-val"))
		if err != nil {
			c.validator, err = exec.LookPath("spirv-val")
		}
		if err != nil {
			return nil, errors.New("found no spirv-val in PATH; hint: apt-get install spirv-tools")
		}
		return c, nil
	}
	return nil, fmt.Errorf("found no GLSL compiler (%s) in PATH; hint: apt-get install glslang-tools spirv-tools", strings.Join(names, ", "))
}

// build compiles, validates and reflects one variant. What is wrong with the shader comes back as diagnostics, what
// is wrong with the machine as an error.
func (c *compiler) build(ctx context.Context, dir string, v variant) (*module, diagnostics, error) {
	src := filepath.Join(dir, v.Source)
	text, err := os.ReadFile(src)
	if err != nil {
		return nil, nil, fmt.Errorf("variant %s: %w", v.Name, err)
	}
	tmp, err := os.MkdirTemp("", "glslc")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(tmp)
	spv := filepath.Join(tmp, v.Name+".spv")

	out, err := exec.CommandContext(ctx, c.path, c.args(dir, src, spv, v)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, nil, fmt.Errorf("%s: %w", c.path, err)
	}
	ds := parseMessages(src, string(out))
	if err != nil {
		if !ds.failed() { // a crash, or a message of a form that parseMessages does not know
			ds = append(ds, diagnostic{src, 1, "error", fmt.Sprintf("%s: %v: %s", c.path, err, bytes.TrimSpace(out))})
		}
		return nil, ds, nil
	}
	fail := func(format string, args ...any) (*module, diagnostics, error) {
		return nil, append(ds, diagnostic{src, 1, "error", fmt.Sprintf("variant %s: ", v.Name) + fmt.Sprintf(format, args...)}), nil
	}
	words, err := os.ReadFile(spv)
	if err != nil {
		return nil, nil, err
	}
	m, err := readModule(words)
	if err != nil {
		var at *interfaceError
		if errors.As(err, &at) {
			return nil, append(ds, diagnostic{src, lineOf(text, at.name), "error", at.text}), nil
		}
		return fail("%v", err)
	}
	if missing := m.missingNeeds(v.Needs); len(missing) > 0 {
		return fail("the module uses what variants.toml does not name: add %q to needs", missing)
	}
	if err := os.WriteFile(spv, m.stripped(), 0o644); err != nil {
		return nil, nil, err
	}
	out, err = exec.CommandContext(ctx, c.validator, "--target-env", v.target(), spv).CombinedOutput()
	if err != nil {
		return fail("spirv-val: %s", strings.ReplaceAll(string(bytes.TrimSpace(out)), "\n", " "))
	}
	return m, ds, nil
}

func (v variant) target() string {
	if v.Target == "" {
		return defaultTarget
	}
	return v.Target
}

// args is the compiler's command line. Neither compiler optimises: that would drop member names, and drivers do it.
func (c *compiler) args(dir, src, spv string, v variant) []string {
	var a []string
	include := filepath.Join(dir, "include")
	if c.shaderc {
		a = []string{"--target-env=" + v.target(), "-fshader-stage=compute", "-I", include, "-o", spv}
	} else {
		a = []string{"-V", "--quiet", "--target-env", v.target(), "-S", "comp", "-I" + include, "-o", spv}
	}
	keys := make([]string, 0, len(v.Defines))
	for k := range v.Defines {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		a = append(a, "-D"+k+"="+v.Defines[k])
	}
	return append(a, src)
}

var (
	glslangMessage = regexp.MustCompile(`^(ERROR|WARNING): (.+?):(\d+): (.*)$`)
	shadercMessage = regexp.MustCompile(`^(.+?):(\d+): (error|warning): (.*)$`)
	plainMessage   = regexp.MustCompile(`^(?:ERROR|WARNING|.+: error): (.*)$`)
	glslangNoise   = regexp.MustCompile(`compilation terminated`)
)

// parseMessages brings the output of either compiler into one form. Messages without a place, such as a linker's, are
// put on the first line of src, unless there are better ones: then they only repeat that there was an error.
func parseMessages(src, out string) diagnostics {
	var ds, placeless diagnostics
	for _, line := range strings.Split(out, "\n") {
		line = strings.TrimSpace(line)
		var d diagnostic
		if m := glslangMessage.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[3])
			d = diagnostic{filepath.Clean(m[2]), n, strings.ToLower(m[1]), strings.TrimSpace(m[4])}
		} else if m := shadercMessage.FindStringSubmatch(line); m != nil {
			n, _ := strconv.Atoi(m[2])
			d = diagnostic{filepath.Clean(m[1]), n, m[3], m[4]}
		} else if m := plainMessage.FindStringSubmatch(line); m != nil {
			d = diagnostic{src, 1, "error", m[1]}
			if strings.HasPrefix(line, "WARNING") {
				d.kind = "warning"
			}
			placeless = append(placeless, d)
			continue
		} else {
			continue
		}
		if !glslangNoise.MatchString(d.text) {
			ds = append(ds, d)
		}
	}
	if !ds.failed() {
		ds = append(ds, placeless...)
	}
	return ds
}

// lineOf returns the number of the first line of text that holds name as a word of its own, or 1.
func lineOf(text []byte, name string) int {
	re := regexp.MustCompile(`(?:^|\W)` + regexp.QuoteMeta(name) + `(?:\W|$)`)
	for i, line := range bytes.Split(text, []byte("\n")) {
		if re.Match(line) {
			return i + 1
		}
	}
	return 1
}

func firstLine(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\n")
	return s
}
