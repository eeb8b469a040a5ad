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
)

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

// sourceGroup is all variants of one source, with their modules.
type sourceGroup struct {
	variants []variant
	modules  []*module
}

func (g sourceGroup) stem() string { return g.variants[0].stem() }

// bySource groups variants, and the modules beside them, by source, in order of the source's name.
func bySource(vs []variant, ms []*module) []sourceGroup {
	groups := map[string]*sourceGroup{}
	var names []string
	for i, v := range vs {
		g := groups[v.Source]
		if g == nil {
			g = &sourceGroup{}
			groups[v.Source] = g
			names = append(names, v.Source)
		}
		g.variants = append(g.variants, v)
		g.modules = append(g.modules, ms[i])
	}
	slices.Sort(names)
	out := make([]sourceGroup, len(names))
	for i, name := range names {
		out[i] = *groups[name]
	}
	return out
}
