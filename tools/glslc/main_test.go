package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// everything uses all that the Go contract can express, and a buffer of each access.
const everything = `#version 450
#extension GL_GOOGLE_include_directive : require
#include "half.glsl"
layout(local_size_x = 8, local_size_x_id = 1, local_size_y = 2, local_size_z_id = 9) in;
layout(constant_id = 3) const float EPS = 1.5e-3;
layout(constant_id = 4) const bool useBias = true;
layout(constant_id = 5) const int shift = -2;
layout(constant_id = 7) const uint TILE_M = 32;
layout(push_constant) uniform Params { uint n; int off; float a; } p;
layout(std430, set = 0, binding = 2) writeonly buffer DXBuf { float dx[]; };
layout(std430, set = 0, binding = 0) readonly buffer XBuf { vec4 x[]; };
layout(std430, set = 0, binding = 1) buffer YBuf { float data[]; } y_out;
void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i < p.n) {
        float v = half_(x[i / 4u][i % 4u]) * p.a + EPS;
        y_out.data[i] += useBias ? v : float(shift + p.off);
        dx[i] = v * float(TILE_M);
    }
}
`

// project writes files to a new folder and makes it the current one: messages show paths relative to it.
func project(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	old, err := os.Getwd()
	require.NoError(t, err)
	require.NoError(t, os.Chdir(dir))
	t.Cleanup(func() { require.NoError(t, os.Chdir(old)) })
}

// glslc runs the command and returns its exit code and what it printed.
func glslc(args ...string) (int, string) {
	var stderr bytes.Buffer
	code := run(context.Background(), args, &stderr)
	return code, stderr.String()
}

func table(name, source string, more ...string) string {
	return "[[variant]]\nname = \"" + name + "\"\nsource = \"" + source + "\"\ndescription = \"tests this tool.\"\n" + strings.Join(more, "\n") + "\n"
}

// comp is a shader that writes one buffer; extra stands before main.
func comp(extra, body string) string {
	return "#version 450\nlayout(local_size_x = 64) in;\n" + extra +
		"\nlayout(std430, set = 0, binding = 0) buffer YBuf { float y[]; };\nvoid main() { y[0] = 1.0; " + body + " }\n"
}

func TestContract(t *testing.T) {
	project(t, map[string]string{
		"shaders/variants.toml":     table("all_in", "all_in.comp") + table("all_in_f", "all_in.comp", `defines = { F = "0.25" }`),
		"shaders/all_in.comp":       everything,
		"shaders/include/half.glsl": "#ifndef F\n#define F 0.5\n#endif\nfloat half_(float v) { return v * F; }\n",
	})
	code, msg := glslc()
	require.Zero(t, code, msg)
	require.Empty(t, msg)
	data, err := os.ReadFile("shaders/zall_in.go")
	require.NoError(t, err)
	text := string(data)
	for _, want := range []string{
		"type AllInParams struct {\n\tN   uint32\n\tOff int32\n\tA   float32\n}",
		"_ = x[unsafe.Offsetof(AllInParams{}.A)-8]",
		"_ = x[unsafe.Sizeof(AllInParams{})-12]",
		"type AllInSpec struct {\n\tLocalX  uint32\n\tEps     float32\n\tUseBias bool\n\tShift   int32\n\tTileM   uint32\n\tLocalZ  uint32\n}",
		"LocalX:  8,\n\t\tEps:     0.0015,\n\t\tUseBias: true,\n\t\tShift:   -2,\n\t\tTileM:   32,\n\t\tLocalZ:  1,",
		"return []uint32{s.LocalX, math.Float32bits(s.Eps), bit(s.UseBias), uint32(s.Shift), s.TileM, s.LocalZ}",
		"return []vk.Range{b.X, b.YOut, b.Dx}",
		"{Name: \"X\", Access: vk.Read},\n\t\t{Name: \"YOut\", Access: vk.Read | vk.Write},\n\t\t{Name: \"Dx\", Access: vk.Write},",
		"{Name: \"Shift\", ID: 5, Default: 0xfffffffe},",
		"Local:   [3]uint32{8, 2, 1},\n\tLocalID: [3]int32{1, -1, 9},",
		"var AllIn = vk.Shader{",
		"var AllInF = vk.Shader{",
		"//go:embed spirv/all_in_f.spv",
	} {
		assert.Contains(t, text, want)
	}
	index, err := os.ReadFile("shaders/zindex.go")
	require.NoError(t, err)
	assert.Contains(t, string(index), "var All = []*vk.Shader{\n\t&AllIn,\n\t&AllInF,\n}")

	plain, err := os.ReadFile("shaders/spirv/all_in.spv")
	require.NoError(t, err)
	defined, err := os.ReadFile("shaders/spirv/all_in_f.spv")
	require.NoError(t, err)
	assert.NotEqual(t, plain, defined, "the define has no effect")
	assert.NotContains(t, string(plain), "TILE_M", "names are stripped")

	// Again, and with the other compiler: the same bytes, and the same interface.
	before := tree(t)
	code, msg = glslc()
	require.Zero(t, code, msg)
	assert.Equal(t, before, tree(t))
	if _, err := exec.LookPath("glslc"); err == nil {
		code, msg = glslc("-compiler", "glslc")
		require.Zero(t, code, msg)
		again, err := os.ReadFile("shaders/zall_in.go")
		require.NoError(t, err)
		_, old, _ := strings.Cut(text, "\n")
		_, now, _ := strings.Cut(string(again), "\n")
		assert.Equal(t, old, now)
	}
}

// tree is every file below the current folder with its content.
func tree(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[filepath.ToSlash(path)] = string(data)
		return err
	}))
	return files
}

func TestErrors(t *testing.T) {
	ok := comp("", "")
	for _, row := range []struct {
		name  string
		files map[string]string
		want  []string // the lines, or their beginnings
	}{
		{"in the source and in another", map[string]string{
			"variants.toml": table("a", "a.comp") + table("b", "b.comp") + table("c", "c.comp"),
			"a.comp":        comp("", "\ny[0] = nothing;"),
			"b.comp":        comp("", "\n\ny[0] = vec3(1);"),
			"c.comp":        ok,
		}, []string{
			"shaders/a.comp:6: error: 'nothing' : undeclared identifier",
			"shaders/b.comp:7: error: 'assign' :  cannot convert",
		}},
		{"in an include, once for two variants", map[string]string{
			"variants.toml":  table("a", "a.comp") + table("a_b", "a.comp"),
			"a.comp":         "#version 450\n#extension GL_GOOGLE_include_directive : require\n#include \"x.glsl\"\nvoid main() {}\n",
			"include/x.glsl": "// x\nfloat f() { return g; }\n",
		}, []string{"shaders/include/x.glsl:2: error: 'g' : undeclared identifier"}},
		{"missing include", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        "#version 450\n#extension GL_GOOGLE_include_directive : require\n#include \"x.glsl\"\nvoid main() {}\n",
		}, []string{"shaders/a.comp:3: error: '#include' : Could not process include directive"}},
		{"no entry point", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        "#version 450\nvoid other() {}\n",
		}, []string{"shaders/a.comp:1: error: Linking compute stage: Missing entry point"}},
		{"push constant type", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        comp("layout(push_constant) uniform Params { uint n;\n vec2 size; } p;", "y[1] = p.size.x;"),
		}, []string{"shaders/a.comp:4: error: push constant size: want a 32-bit int, uint or float"}},
		{"push constants too large", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        comp("layout(push_constant) uniform Params { uint a"+manyMembers(33)+"; } p;", "y[1] = float(p.a);"),
		}, []string{"shaders/a.comp:3: error: the push constants are 136 bytes"}},
		{"uniform buffer", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        comp("layout(set = 0, binding = 1) uniform U { float s; } u;", "y[1] = u.s;"),
		}, []string{"shaders/a.comp:3: error: u is neither storage buffer nor push constant"}},
		{"descriptor set", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        comp("layout(std430, set = 1, binding = 1) buffer ZBuf { float z[]; };", "z[1] = 1;"),
		}, []string{"shaders/a.comp:3: error: buffer z is in descriptor set 1, want 0"}},
		{"binding twice", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        comp("layout(std430, set = 0, binding = 0) buffer ZBuf { float z[]; };", "z[1] = 1;"),
		}, []string{"have the same binding 0"}},
		{"binding gap", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        comp("layout(std430, set = 0, binding = 2) buffer ZBuf { float z[]; };", "z[1] = 1;"),
		}, []string{"a.comp: binding 1 is missing"}},
		{"workgroup too large", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        strings.Replace(ok, "local_size_x = 64", "local_size_x = 256", 1),
		}, []string{"shaders/a.comp:2: error: the workgroup has 256 invocations"}},
		{"unlisted need", map[string]string{
			"variants.toml": table("a", "a.comp"),
			"a.comp":        strings.Replace(comp("", "y[1] = subgroupAdd(1.0);"), "450\n", "450\n#extension GL_KHR_shader_subgroup_arithmetic : require\n", 1),
		}, []string{`shaders/a.comp:1: error: variant a: the module uses what variants.toml does not name: add ["subgroup"] to needs`}},
		{"siblings disagree", map[string]string{
			"variants.toml": table("a", "a.comp") + table("a_b", "a.comp", `defines = { D = "2" }`),
			"a.comp":        comp("#ifndef D\n#define D 1\n#endif\nlayout(constant_id = 0) const uint K = D;", "y[1] = float(K);"),
		}, []string{"variants a and a_b differ in specialization constant K"}},
		{"variants.toml: syntax", map[string]string{
			"variants.toml": "# x\n[[variant]\n",
		}, []string{"shaders/variants.toml:2: error: "}},
		{"variants.toml: keys and names", map[string]string{
			"variants.toml": table("a", "a.comp", `colour = "red"`),
		}, []string{`shaders/variants.toml:5: error: unknown key "variant.colour"`}},
		{"variants.toml: names", map[string]string{
			"variants.toml": table("A", "a.comp") + table("b", "b.glsl") + table("c", "d.comp"),
		}, []string{"shaders/variants.toml:2: error: variant name is \"A\"", "must be a or begin with a_", "source is \"b.glsl\"", "variant c: the name must be d"}},
		{"variants.toml: no source", map[string]string{
			"variants.toml": table("a", "a.comp"),
		}, []string{"glslc: error: variant a: open shaders/a.comp: no such file"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			files := map[string]string{}
			for name, text := range row.files {
				files["shaders/"+name] = text
			}
			project(t, files)
			code, msg := glslc()
			assert.Equal(t, 1, code)
			for _, want := range row.want {
				assert.Contains(t, msg, want)
			}
			assert.ElementsMatch(t, slices.Collect(maps.Keys(files)), slices.Collect(maps.Keys(tree(t))), "something was written")
			lines := strings.Split(msg, "\n")
			assert.Len(t, slices.Compact(slices.Sorted(slices.Values(lines))), len(lines), "repeated: %s", msg)
		})
	}
}

// manyMembers is ", a1, a2, ..." with n names.
func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ", a%d", i+1)
	}
	return b.String()
}

func TestOnlyAndOrphans(t *testing.T) {
	project(t, map[string]string{
		"shaders/variants.toml": table("a", "a.comp") + table("a_b", "a.comp") + table("c", "c.comp"),
		"shaders/a.comp":        comp("", ""),
		"shaders/c.comp":        "broken",
		"shaders/zmine.go":      "package shaders // not generated\n",
	})
	read := func(name string) string {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(data)
	}
	code, msg := glslc("-only", "_b$")
	require.Zero(t, code, msg)
	assert.Contains(t, read("shaders/za.go"), "var AB = vk.Shader{", "the sibling is in the same file")
	assert.Contains(t, read("shaders/zindex.go"), "{\n\t&A,\n\t&AB,\n}", "c has no module yet")

	require.NoError(t, os.WriteFile("shaders/c.comp", []byte(comp("", "")), 0o644))
	code, msg = glslc("-only", "^c$")
	require.Zero(t, code, msg)
	assert.Contains(t, read("shaders/zindex.go"), "{\n\t&A,\n\t&AB,\n\t&C,\n}")

	require.NoError(t, os.WriteFile("shaders/variants.toml", []byte(table("c", "c.comp")), 0o644))
	code, msg = glslc()
	require.Zero(t, code, msg)
	assert.Equal(t, []string{"shaders/a.comp", "shaders/c.comp", "shaders/spirv/c.spv", "shaders/variants.toml",
		"shaders/zc.go", "shaders/zindex.go", "shaders/zmine.go"}, slices.Sorted(maps.Keys(tree(t))))

	code, msg = glslc("-only", "nobody")
	assert.Equal(t, 1, code)
	assert.Equal(t, "glslc: error: no variant of shaders/variants.toml matches \"nobody\"\n", msg)
}

// What an older compiler cannot compile stays as it was generated, as long as it is of the same source.
func TestCompilerTooOld(t *testing.T) {
	files := map[string]string{
		"shaders/variants.toml":      table("a", "a.comp", `compiler = "glslang 1"`) + table("b", "b.comp"),
		"shaders/a.comp":             "#version 450\n#extension GL_GOOGLE_include_directive : require\n#include \"half.glsl\"\n" + comp("", "y[1] = HALF;")[len("#version 450\n"):],
		"shaders/b.comp":             comp("", ""),
		"shaders/include/half.glsl":  "#include \"value.glsl\"\n",
		"shaders/include/value.glsl": "#define HALF 0.5\n",
	}
	project(t, files)
	code, msg := glslc()
	require.Zero(t, code, msg)
	old := strings.Replace(files["shaders/variants.toml"], "glslang 1", "glslang 999", 1)
	write := func(name, text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o644)) }
	write("shaders/variants.toml", old)
	before := tree(t)
	assert.Contains(t, before["shaders/za.go"], "\n"+hashLine)
	assert.NotContains(t, before["shaders/zb.go"], hashLine, "any compiler will do")

	code, msg = glslc()
	require.Zero(t, code, msg)
	assert.Contains(t, msg, "glslc: kept what was generated from a.comp: glslangValidator ")
	assert.Equal(t, before, tree(t))
	code, msg = glslc("-out", "elsewhere")
	require.Zero(t, code, msg)
	for _, name := range []string{"za.go", "spirv/a.spv", "zindex.go"} {
		assert.Equal(t, before["shaders/"+name], tree(t)["elsewhere/"+name], name)
	}
	require.NoError(t, os.RemoveAll("elsewhere"))

	for name, text := range map[string]string{
		"shaders/a.comp":             files["shaders/a.comp"] + "\n",
		"shaders/include/half.glsl":  files["shaders/include/half.glsl"] + "\n",
		"shaders/include/value.glsl": "#define HALF 0.25\n",
		"shaders/variants.toml":      strings.Replace(old, "tests this tool", "is another", 1),
	} {
		was := before[name]
		write(name, text)
		code, msg = glslc()
		assert.Equal(t, 1, code, name)
		assert.Contains(t, msg, "shaders/a.comp:1: error: za.go was generated from another source: hash ", name)
		assert.Contains(t, msg, "hint: go run ./tools/glslc -newer PROGRAM, with glslang 999 or newer", name)
		write(name, was)
	}
	require.NoError(t, os.Remove("shaders/spirv/a.spv"))
	code, msg = glslc()
	assert.Equal(t, 1, code)
	assert.Contains(t, msg, "spirv/a.spv is missing")

	// A newer compiler: this one under another number.
	real, err := exec.LookPath("glslangValidator")
	if err != nil {
		real, err = exec.LookPath("glslang")
	}
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("newer", []byte("#!/bin/sh\n[ \"$1\" = --version ] && { echo Glslang Version: 11:999.1.0; exit; }\nexec "+real+" \"$@\"\n"), 0o755))
	newer, err := filepath.Abs("newer")
	require.NoError(t, err)
	write("shaders/include/value.glsl", "#define HALF 0.25\n")
	code, msg = glslc("-newer", newer)
	require.Zero(t, code, msg)
	after := tree(t)
	assert.Empty(t, msg)
	assert.Contains(t, after["shaders/za.go"], "with glslangValidator 11:999.1.0; DO NOT EDIT.")
	assert.Equal(t, before["shaders/zb.go"], after["shaders/zb.go"], "the first compiler compiles what it can")
	assert.NotEqual(t, before["shaders/spirv/a.spv"], after["shaders/spirv/a.spv"])
	code, msg = glslc()
	require.Zero(t, code, msg)
	assert.Equal(t, after, tree(t))

	write("shaders/variants.toml", strings.Replace(old, "glslang 999", "clang 3", 1))
	code, msg = glslc()
	assert.Equal(t, 1, code)
	assert.Contains(t, msg, `compiler is "clang 3", want the oldest version, as "glslang 15"`)
}

func TestUsageAndMissingTools(t *testing.T) {
	project(t, map[string]string{"shaders/variants.toml": table("a", "a.comp"), "shaders/a.comp": comp("", "")})
	for _, args := range [][]string{{"-nonsense"}, {"argument"}, {"-only", "("}} {
		code, msg := glslc(args...)
		assert.Equal(t, 2, code, args)
		assert.NotEmpty(t, msg)
	}
	t.Setenv("PATH", t.TempDir())
	code, msg := glslc()
	assert.Equal(t, 1, code)
	assert.Contains(t, msg, "glslc: error: found no GLSL compiler (glslangValidator, glslang, glslc) in PATH; hint: apt-get install glslang-tools spirv-tools")
}
