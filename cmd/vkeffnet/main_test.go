package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vkeffnet": func() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the sessions of testdata: what a user types, and what comes back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "make-step": makeStep, "tensors": tensors, "make-images": makeImages, "wait-for": waitFor, "check-trace": checkTrace},
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"VK_ICD_FILENAMES", "VK_DRIVER_FILES", "LD_LIBRARY_PATH", "XDG_RUNTIME_DIR", "VK_LAYER_PATH"} {
				if value, ok := os.LookupEnv(name); ok {
					env.Setenv(name, value)
				}
			}
			env.Setenv("VKEFFNET_NO_TUNE", "1") // what a script prints depends on no timing; tune.txtar unsets it
			return nil
		},
	})
}

// exits is the script command "exits STATUS PROGRAM ARGS...".
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARGS...")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status is %d, want %s", got, args[0])
	}
}

// makeStep is the script command "make-step CLASSES": it writes nano.safetensors, in torchvision's names, and
// batch.safetensors with two images of 40x32.
func makeStep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: make-step CLASSES")
	}
	classes, err := strconv.Atoi(args[0])
	ts.Check(err)
	weights, err := effnetv2.Nano.StateDict(classes, effnetv2.Init(effnetv2.Nano, classes, 1), effnetv2.Torchvision)
	ts.Check(err)
	ts.Check(weights.WriteFile(ts.MkAbs("nano.safetensors")))
	images := make([]float32, 2*3*40*32)
	for i := range images {
		images[i] = float32(i%17)/8 - 1
	}
	var batch effnetv2.StateDict
	batch.Add("images", effnetv2.Tensor{DType: "F32", Shape: []int{2, 3, 40, 32}, F32: images})
	batch.Add("labels", effnetv2.Tensor{DType: "I64", Shape: []int{2}, I64: []int64{0, int64(classes - 1)}})
	ts.Check(batch.WriteFile(ts.MkAbs("batch.safetensors")))
}

// tensors is the script command "tensors FILE": it prints every tensor's name, type and shape.
func tensors(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tensors FILE")
	}
	sd, err := effnetv2.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, name := range sd.Names {
		fmt.Fprintln(ts.Stdout(), name, sd.Tensors[name].DType, sd.Tensors[name].Shape)
	}
}

// makeImages is the script command "make-images DIR N": N small images in each of the class folders DIR/dark and DIR/light.
func makeImages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: make-images DIR N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for class, level := range map[string]int{"dark": 40, "light": 200} {
		dir := filepath.Join(ts.MkAbs(args[0]), class)
		ts.Check(os.MkdirAll(dir, 0o777))
		for i := range n {
			m := image.NewGray(image.Rect(0, 0, 20+i%5, 24))
			for p := range m.Pix {
				m.Pix[p] = uint8(level + (p*7+i*13)%40)
			}
			f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%03d.png", i)))
			ts.Check(err)
			ts.Check(png.Encode(f, m))
			ts.Check(f.Close())
		}
	}
}

// waitFor is the script command "wait-for FILE": it waits until the file exists and is not empty.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-for FILE")
	}
	for range 1200 {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear within a minute", args[0])
}
