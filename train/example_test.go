package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// A program that trains on the images within the package. For results instead of a test, leave out the settings in the
// map except data and out.
func ExampleRun() {
	dev, err := vk.Open(nil)
	check(err)
	defer dev.Close()
	out, err := os.MkdirTemp("", "run")
	check(err)
	defer os.RemoveAll(out)
	cfg, err := train.LoadConfig("", map[string]string{"data": "demo", "out": filepath.Join(out, "run"), "epochs": "0.05", "stages": "1",
		"eval_every": "0"})
	check(err)
	result, err := train.Run(context.Background(), dev, cfg, nil)
	check(err)
	fmt.Println(result.Steps, "steps; weights in", filepath.Base(result.Weights))
	// Output: 5 steps; weights in best.safetensors
}

// A program that names what a picture shows. The weights are those that the demo trains; train.ReadImage and
// PredictPixels take JPEG, PNG, WebP, GIF and BMP files.
func ExamplePredictor() {
	dev, err := vk.Open(nil)
	check(err)
	defer dev.Close()
	p, err := train.NewPredictor(dev, "testdata/fashion.safetensors", nil)
	check(err)
	defer p.Close()
	px, err := train.ReadImage("testdata/boot.png")
	check(err)
	guesses, err := p.PredictPixels(context.Background(), px)
	check(err)
	fmt.Println(guesses[0][0].Name)
	// Output: Ankle boot
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
