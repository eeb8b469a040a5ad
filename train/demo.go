package train

import (
	"bytes"
	_ "embed"
	"fmt"
)

// The demo data: the first 600 images of each class of Fashion-MNIST's training part and the first 100 of each class of
// its test part (MIT licence, train/demo/LICENSE; made by train/demo/generate.go).
var (
	//go:embed demo/train-images-idx3-ubyte.gz
	demoTrainImages []byte
	//go:embed demo/train-labels-idx1-ubyte.gz
	demoTrainLabels []byte
	//go:embed demo/t10k-images-idx3-ubyte.gz
	demoValImages []byte
	//go:embed demo/t10k-labels-idx1-ubyte.gz
	demoValLabels []byte
)

// openDemo returns the embedded data.
func openDemo() (train, val Dataset, err error) {
	t, err := readIDX("demo train", bytes.NewReader(demoTrainImages), bytes.NewReader(demoTrainLabels))
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	v, err := readIDX("demo val", bytes.NewReader(demoValImages), bytes.NewReader(demoValLabels))
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	t.classes, v.classes = fashionClasses, fashionClasses
	return t, v, nil
}
