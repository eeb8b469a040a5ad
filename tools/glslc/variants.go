package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// variant is one [[variant]] table of variants.toml.
type variant struct {
	Name        string            `toml:"name"`        // the source's stem, or the stem, "_" and a suffix
	Source      string            `toml:"source"`      // file below the shaders folder
	Defines     map[string]string `toml:"defines"`     // preprocessor definitions
	Needs       []string          `toml:"needs"`       // Vulkan features and extensions
	Elements    []string          `toml:"elements"`    // also compiled for these element types, as NAME_f16 and NAME_bf16
	Target      string            `toml:"target"`      // glslang's --target-env; empty: defaultTarget
	Compiler    string            `toml:"compiler"`    // "glslang 15": the oldest that knows what the source uses; empty: any
	Description string            `toml:"description"` // one sentence for the Go doc comment
}

// defaultTarget is what every Vulkan device of the last years runs: SPIR-V 1.3.
const defaultTarget = "vulkan1.1"

// stem is the source's name without ".comp".
func (v variant) stem() string { return strings.TrimSuffix(v.Source, ".comp") }

// elements are the element types of include/elem.glsl beside float32: what they define and how they are described.
var elements = map[string]struct{ define, text string }{
	"f16":  {"ELEM_F16", "activations are float16."},
	"bf16": {"ELEM_BF16", "activations are bfloat16."},
}

// withElement is the variant compiled for another element type.
func (v variant) withElement(name string) variant {
	e := elements[name]
	v.Name += "_" + name
	v.Description = strings.TrimSuffix(v.Description, ".") + "; " + e.text
	v.Defines = maps.Clone(v.Defines)
	if v.Defines == nil {
		v.Defines = map[string]string{}
	}
	v.Defines[e.define] = "1"
	v.Needs = append(slices.Clone(v.Needs), "storageBuffer16BitAccess")
	v.Elements = nil
	return v
}

var (
	variantName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	targetName  = regexp.MustCompile(`^vulkan1\.[0-9]+$`)
	oldest      = regexp.MustCompile(`^glslang ([1-9][0-9]*)$`)
)

// glslang is the major version of the oldest compiler for v; 0: any.
func (v variant) glslang() int {
	m := oldest.FindStringSubmatch(v.Compiler)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// loadVariants reads variants.toml and returns its variants sorted by name.
func loadVariants(path string) ([]variant, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Variant []variant `toml:"variant"`
	}
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		var unknown *toml.StrictMissingError
		if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
			row, _ := unknown.Errors[0].Position()
			return nil, diagnostics{{path, row, "error", fmt.Sprintf("unknown key %q", strings.Join(unknown.Errors[0].Key(), "."))}}
		}
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			row, _ := syntax.Position()
			return nil, diagnostics{{path, row, "error", syntax.Error()}}
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var ds diagnostics
	seen := map[string]bool{}
	for _, v := range file.Variant {
		bad := func(format string, args ...any) {
			ds = append(ds, diagnostic{path, lineOf(data, `"`+v.Name+`"`), "error", fmt.Sprintf(format, args...)})
		}
		if !variantName.MatchString(v.Name) {
			bad("variant name is %q, want lower-case words joined by _", v.Name)
		}
		if filepath.Ext(v.Source) != ".comp" || filepath.Base(v.Source) != v.Source {
			bad("variant %s: source is %q, want the name of a .comp file", v.Name, v.Source)
		}
		if v.Name != v.stem() && !strings.HasPrefix(v.Name, v.stem()+"_") {
			bad("variant %s: the name must be %s or begin with %s_, like its source", v.Name, v.stem(), v.stem())
		}
		if seen[v.Name] {
			bad("variant %s is listed twice", v.Name)
		}
		if v.Target != "" && !targetName.MatchString(v.Target) {
			bad("variant %s: target is %q, want vulkan1.1 or newer", v.Name, v.Target)
		}
		if v.Compiler != "" && v.glslang() == 0 {
			bad("variant %s: compiler is %q, want the oldest version, as \"glslang 15\"", v.Name, v.Compiler)
		}
		for _, e := range v.Elements {
			if _, ok := elements[e]; !ok {
				bad("variant %s: element type is %q, want f16 or bf16", v.Name, e)
			}
		}
		if v.Description == "" {
			bad("variant %s has no description", v.Name)
		}
		seen[v.Name] = true
	}
	if len(ds) > 0 {
		return nil, ds
	}
	for _, v := range file.Variant {
		for _, e := range v.Elements {
			if seen[v.Name+"_"+e] {
				return nil, diagnostics{{path, lineOf(data, `"`+v.Name+`"`), "error", fmt.Sprintf("variant %s_%s is listed and made by elements", v.Name, e)}}
			}
			file.Variant = append(file.Variant, v.withElement(e))
		}
	}
	slices.SortFunc(file.Variant, func(a, b variant) int { return strings.Compare(a.Name, b.Name) })
	return file.Variant, nil
}

// sourceGroup is all variants of one source. One compiler compiles them.
type sourceGroup struct {
	variants []variant
	compiler *compiler // nil: none is new enough
	modules  []*module // of the variants, once they are compiled
}

func (g sourceGroup) source() string { return g.variants[0].Source }
func (g sourceGroup) stem() string   { return g.variants[0].stem() }

// glslang is the major version of the oldest compiler for all variants; 0: any.
func (g sourceGroup) glslang() int {
	n := 0
	for _, v := range g.variants {
		n = max(n, v.glslang())
	}
	return n
}

// bySource groups variants by source, in order of the source's name.
func bySource(vs []variant) []*sourceGroup {
	groups := map[string]*sourceGroup{}
	for _, v := range vs {
		g := groups[v.Source]
		if g == nil {
			g = &sourceGroup{}
			groups[v.Source] = g
		}
		g.variants = append(g.variants, v)
		g.modules = append(g.modules, nil)
	}
	return slices.SortedFunc(maps.Values(groups), func(a, b *sourceGroup) int { return strings.Compare(a.source(), b.source()) })
}
