// Package golden holds reference results of torchvision's EfficientNetV2, computed in float64 by PyTorch, and compares a
// model's results with them. The files are embedded, so that the command can test itself on a user's machine.
//
// Weights, images and labels are not stored: they are made from a seed by the same integer arithmetic in
// tests/golden/make_golden.py, which wrote the files, and in values.go. Large tensors are stored as digests: a fixed sample of
// elements, the largest absolute value, and sums of all elements with pseudo-random signs. Beside every reference stands the
// error that PyTorch itself makes in float32.
package golden

import (
	"embed"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

//go:embed data/*.safetensors
var files embed.FS

// The three RMSProp steps of a case: g += WeightDecay*w for kernels (Param.Decay); ms += (1-Rho)(g*g - ms), ms starts at 1;
// mom = Momentum*mom + LR*g/sqrt(ms+Eps); w -= mom. Every step sees the same batch.
const (
	Steps       = 3
	LR          = 0.02
	Rho         = 0.9
	Momentum    = 0.9
	Eps         = 1e-3
	WeightDecay = 1e-5
)

const samples, projections = 128, 4

// Case is one network, batch and padding with its reference results.
type Case struct {
	Name    string
	Variant effnetv2.Variant
	Classes int
	N, H, W int
	Padding string // "torch" or "same"

	seed  uint64
	full  bool // digests are whole tensors
	stats []effnetv2.Param
	train []effnetv2.Param
	ref   map[string]effnetv2.Tensor
}

// Names lists the cases, from the cheapest.
func Names() []string { return []string{"nano", "nano-same", "b0", "b0-same", "s"} }

// Load reads a case.
func Load(name string) (*Case, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("golden: no case %q, want one of %v", name, Names())
	}
	file, err := files.ReadFile("data/" + name + ".safetensors")
	if err != nil {
		return nil, fmt.Errorf("golden: %w", err)
	}
	sd, err := effnetv2.DecodeSafetensors(file)
	if err != nil {
		return nil, fmt.Errorf("golden: case %s: %w", name, err)
	}
	c := &Case{Name: name, Padding: sd.Metadata["padding"], full: sd.Metadata["full"] == "True", ref: sd.Tensors}
	if c.Variant, err = effnetv2.ByName(sd.Metadata["variant"]); err != nil {
		return nil, fmt.Errorf("golden: case %s: %w", name, err)
	}
	var seed int
	for key, dst := range map[string]*int{"classes": &c.Classes, "n": &c.N, "h": &c.H, "w": &c.W, "seed": &seed} {
		if *dst, err = strconv.Atoi(sd.Metadata[key]); err != nil {
			return nil, fmt.Errorf("golden: case %s: metadata %s: %w", name, key, err)
		}
	}
	c.seed = uint64(seed)
	for _, p := range c.Variant.Params(c.Classes) {
		switch {
		case p.Trainable:
			c.train = append(c.train, p)
		case p.Kind != effnetv2.BNCount:
			c.stats = append(c.stats, p)
		}
	}
	return c, nil
}

// Weights returns the initial state by timm's names in PyTorch's shapes, running statistics and counters included.
func (c *Case) Weights() map[string][]float32 {
	state := map[string][]float32{}
	for _, p := range c.Variant.Params(c.Classes) {
		state[p.Timm] = initial(c.seed, p)
	}
	return state
}

// Images returns the batch, [N 3 H W].
func (c *Case) Images() []float32 {
	return uniform(c.seed, "images", c.N*3*c.H*c.W, -math.Sqrt(3), math.Sqrt(3))
}

// Labels returns the class of every image.
func (c *Case) Labels() []int64 {
	state := fnv1a(c.seed, "labels")
	labels := make([]int64, c.N)
	for i := range labels {
		labels[i] = int64(splitmix64(state, i) % uint64(c.Classes))
	}
	return labels
}
