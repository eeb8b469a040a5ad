// Command glslc turns the GLSL compute shaders of package shaders into SPIR-V and a typed Go contract.
//
// It compiles nothing itself: it runs glslangValidator (or shaderc's glslc), has spirv-val check every module,
// reads names, types and access from the module, and writes
//
//	zNAME.go       per source: push constants, specialization constants and bindings as Go structs, and the
//	               vk.Shader of each variant
//	zindex.go      all variants
//	spirv/NAME.spv per variant: the module, without names
//
// Generated files whose variant is gone from variants.toml are deleted. The same compiler gives the same bytes.
//
// A source whose variants name a newer compiler than the machine has is not compiled: its generated files stay as they
// are. They hold a hash of the source, its includes and its variants, and if that is not the present one it is an error. -newer
// names a compiler for such sources; spirv-val is the one beside a compiler, else the first in PATH.
//
// Usage, from the top of the repository:
//
//	go run ./tools/glslc [-only REGEXP] [-compiler PROGRAM] [-newer PROGRAM] [-dir shaders] [-out DIR] [-package NAME]
//
// It serves shaders of your own as well: give a folder with a variants.toml (shaders/variants.toml describes the form).
//
// Errors read FILE:LINE: error: TEXT, with FILE relative to the current folder; if there is one, nothing is written.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// options are the command's flags.
type options struct {
	dir      string         // folder of variants.toml and the sources
	out      string         // folder that gets the generated files
	compiler string         // program; empty: the first that is found
	newer    string         // program for the sources that it is too old for; empty: none
	pkg      string         // name of the generated Go package
	only     *regexp.Regexp // variants to compile; nil: all
}

// run is the command; it returns the exit code: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	var o options
	fs := flag.NewFlagSet("glslc", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.dir, "dir", "shaders", "`folder` of variants.toml and the GLSL sources")
	fs.StringVar(&o.out, "out", "", "`folder` for the generated files (default: the one of -dir)")
	fs.StringVar(&o.compiler, "compiler", "", "`program`: glslangValidator, or glslc of shaderc (default: the first of them in PATH)")
	fs.StringVar(&o.newer, "newer", "", "`program` for the sources that need a newer compiler (default: their generated files are kept)")
	fs.StringVar(&o.pkg, "package", "", "`name` of the generated Go package (default: the folder's name)")
	only := fs.String("only", "", "compile only variants whose name matches this `regexp`, and their siblings of the same source")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "glslc: error: got argument %q, want flags only\n", fs.Arg(0))
		return 2
	}
	if o.out == "" {
		o.out = o.dir
	}
	if o.pkg == "" {
		dir, err := filepath.Abs(o.dir)
		if err != nil {
			fmt.Fprintf(stderr, "glslc: error: %v\n", err)
			return 1
		}
		o.pkg = filepath.Base(dir)
	}
	if *only != "" {
		re, err := regexp.Compile(*only)
		if err != nil {
			fmt.Fprintf(stderr, "glslc: error: -only: %v\n", err)
			return 2
		}
		o.only = re
	}
	if err := generate(ctx, o, stderr); err != nil {
		var ds diagnostics
		if !errors.As(err, &ds) { // a list of diagnostics is already in the form that editors read
			fmt.Fprint(stderr, "glslc: error: ")
		}
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// generate compiles and writes everything that o asks for. Warnings go to stderr.
func generate(ctx context.Context, o options, stderr io.Writer) error {
	all, err := loadVariants(filepath.Join(o.dir, "variants.toml"))
	if err != nil {
		return err
	}
	compilers := make([]*compiler, 1, 2)
	if compilers[0], err = findCompiler(ctx, o.compiler); err != nil {
		return err
	}
	if o.newer != "" {
		newer, err := findCompiler(ctx, o.newer)
		if err != nil {
			return err
		}
		compilers = append(compilers, newer)
	}
	chosen := choose(all, o.only)
	if len(chosen) == 0 && o.only != nil {
		return fmt.Errorf("no variant of %s matches %q", filepath.Join(o.dir, "variants.toml"), o.only)
	}

	groups := bySource(chosen)
	var found [][]diagnostics
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.NumCPU())
	for _, group := range groups {
		if i := slices.IndexFunc(compilers, func(c *compiler) bool { return c.glslang >= group.glslang() }); i >= 0 {
			group.compiler = compilers[i]
		} else {
			continue
		}
		said := make([]diagnostics, len(group.variants))
		for i, v := range group.variants {
			g.Go(func() (err error) {
				group.modules[i], said[i], err = group.compiler.build(gctx, o.dir, v)
				return err
			})
		}
		found = append(found, said)
	}
	if err := g.Wait(); err != nil {
		return err
	}
	ds := slices.Concat(slices.Concat(found...)...).unique()
	if ds.failed() {
		return ds
	}
	if len(ds) > 0 {
		fmt.Fprintln(stderr, ds)
	}

	files := map[string][]byte{} // by path below o.out
	var kept []string
	for _, group := range groups {
		if group.compiler == nil {
			kept = append(kept, group.source())
			if err := keep(o.dir, group, compilers[0], files); err != nil {
				return err
			}
			continue
		}
		hash := ""
		if group.glslang() > 0 {
			if hash, err = sourceHash(o.dir, group); err != nil {
				return err
			}
		}
		text, err := emitSource(o.pkg, hash, group)
		if err != nil {
			return err
		}
		files["z"+group.stem()+".go"] = text
		for i, v := range group.variants {
			files["spirv/"+v.Name+".spv"] = group.modules[i].stripped()
		}
	}
	if len(kept) > 0 {
		fmt.Fprintf(stderr, "glslc: kept what was generated from %s: %s is too old to compile it, and its hash is that of the source\n",
			strings.Join(kept, ", "), compilers[0].version)
	}
	var index []variant // with -only: what was compiled now or earlier, so that the package builds
	for _, v := range all {
		_, statErr := os.Stat(filepath.Join(o.out, "spirv", v.Name+".spv"))
		if _, now := files["spirv/"+v.Name+".spv"]; now || statErr == nil {
			index = append(index, v)
		}
	}
	if files["zindex.go"], err = emitIndex(o.pkg, index); err != nil {
		return err
	}
	return write(o.out, files, all)
}

// choose returns the variants that match only, together with all others of their sources: a source's variants
// share one Go file.
func choose(all []variant, only *regexp.Regexp) []variant {
	if only == nil {
		return all
	}
	sources := map[string]bool{}
	for _, v := range all {
		if only.MatchString(v.Name) {
			sources[v.Source] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(v variant) bool { return !sources[v.Source] })
}

// write writes files below dir where their content differs, and deletes generated files that no variant of all owns.
func write(dir string, files map[string][]byte, all []variant) error {
	if err := os.MkdirAll(filepath.Join(dir, "spirv"), 0o755); err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
			continue
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	owned := map[string]bool{"zindex.go": true}
	for _, v := range all {
		owned["z"+v.stem()+".go"] = true
		owned[v.Name+".spv"] = true
	}
	for _, pattern := range []string{"z*.go", "spirv/*.spv"} {
		paths, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if owned[filepath.Base(path)] || !generated(path) {
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// generated reports whether path is a file that this tool wrote: any SPIR-V module, or Go with the tool's header.
func generated(path string) bool {
	if strings.HasSuffix(path, ".spv") {
		return true
	}
	data, err := os.ReadFile(path)
	return err == nil && bytes.HasPrefix(data, []byte(header))
}
