package effnetv2_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// stateDict lists a network's entries as tests/golden/make_golden.py lists those of torchvision's state_dict.
func stateDict(v effnetv2.Variant) string {
	var b strings.Builder
	for _, p := range v.Params(1000) {
		fmt.Fprintf(&b, "%s %s\n", p.Torchvision, strings.ReplaceAll(fmt.Sprint(p.Shape), " ", ", "))
	}
	return b.String()
}

// TestTorchvisionEntries compares names, order and shapes with torchvision's own state_dicts.
func TestTorchvisionEntries(t *testing.T) {
	want, err := os.ReadFile("testdata/torchvision_s.txt")
	require.NoError(t, err)
	assert.Equal(t, strings.Split(string(want), "\n"), strings.Split(stateDict(effnetv2.S), "\n"))

	// EfficientNet-B0 of 2019 has what no V2 has: an MBConv that does not expand, and 5x5 kernels.
	mb := func(kernel, repeats, stride, expand, out int) effnetv2.Stage {
		return effnetv2.Stage{Kind: effnetv2.MB, Repeats: repeats, Stride: stride, Expand: expand, Out: out, Kernel: kernel, SE: 0.25}
	}
	v1 := effnetv2.Variant{Name: "v1-b0", Stem: 32, Head: 1280, Stages: []effnetv2.Stage{mb(3, 1, 1, 1, 16), mb(3, 2, 2, 6, 24),
		mb(5, 2, 2, 6, 40), mb(3, 3, 2, 6, 80), mb(5, 3, 1, 6, 112), mb(5, 4, 2, 6, 192), mb(3, 1, 1, 6, 320)}}
	sums, err := os.ReadFile("testdata/torchvision.sha256")
	require.NoError(t, err)
	for _, v := range []effnetv2.Variant{effnetv2.M, effnetv2.L, v1} {
		assert.Contains(t, string(sums), fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(stateDict(v))), v.Name))
	}
	assert.Len(t, v1.Params(1000), 360)
	n, _ := v1.ParamCount(1000)
	assert.EqualValues(t, 5_288_548, n)
	assert.Equal(t, "0.386", fmt.Sprintf("%.3f", float64(v1.MACs(224, 224, 1000))/1e9))
}

// TestTimmNames holds one block of each kind against timm's names.
func TestTimmNames(t *testing.T) {
	pairs := map[string]string{}
	for _, p := range effnetv2.S.Params(1000) {
		_, dup := pairs[p.Torchvision]
		require.False(t, dup)
		pairs[p.Torchvision] = p.Timm
	}
	for tv, timm := range map[string]string{
		"features.0.0.weight":                        "conv_stem.weight",
		"features.0.1.running_mean":                  "bn1.running_mean",
		"features.1.1.block.0.0.weight":              "blocks.0.1.conv.weight",
		"features.1.1.block.0.1.bias":                "blocks.0.1.bn1.bias",
		"features.2.0.block.0.0.weight":              "blocks.1.0.conv_exp.weight",
		"features.2.0.block.0.1.weight":              "blocks.1.0.bn1.weight",
		"features.2.0.block.1.0.weight":              "blocks.1.0.conv_pwl.weight",
		"features.2.0.block.1.1.running_var":         "blocks.1.0.bn2.running_var",
		"features.4.0.block.0.0.weight":              "blocks.3.0.conv_pw.weight",
		"features.4.0.block.1.0.weight":              "blocks.3.0.conv_dw.weight",
		"features.4.0.block.1.1.weight":              "blocks.3.0.bn2.weight",
		"features.4.0.block.2.fc1.weight":            "blocks.3.0.se.conv_reduce.weight",
		"features.4.0.block.2.fc2.bias":              "blocks.3.0.se.conv_expand.bias",
		"features.4.0.block.3.0.weight":              "blocks.3.0.conv_pwl.weight",
		"features.6.14.block.3.1.weight":             "blocks.5.14.bn3.weight",
		"features.7.0.weight":                        "conv_head.weight",
		"features.7.1.num_batches_tracked":           "bn2.num_batches_tracked",
		"classifier.1.weight":                        "classifier.weight",
		"classifier.1.bias":                          "classifier.bias",
		"features.5.0.block.0.1.running_mean":        "blocks.4.0.bn1.running_mean",
		"features.5.8.block.1.1.num_batches_tracked": "blocks.4.8.bn2.num_batches_tracked",
	} {
		assert.Equal(t, timm, pairs[tv])
	}
}
