package effnetv2

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Metadata is what a weights file says about the network beside its tensors, kept in safetensors' string map. An absent field
// is its zero value.
type Metadata struct {
	Variant    string     // "s"
	Classes    int        // outputs of the classifier
	ClassNames []string   // in order of the classifier's outputs; empty or Classes long
	Mean, Std  [3]float32 // of the normalisation (x/255 - Mean)/Std, RGB
	Padding    string     // "torch" or "same"
	TrainSize  int        // side of the training images
	EvalSize   int        // side of the evaluation images
	Provenance map[string]string
}

const provenancePrefix = "provenance."

// Map returns the entries of the file. "format" is what other readers of safetensors ask for.
func (m Metadata) Map() map[string]string {
	encode := func(x any) string {
		b, err := json.Marshal(x)
		if err != nil {
			panic("effnetv2: internal error: " + err.Error()) // strings and float32s always marshal, NaN aside
		}
		return string(b)
	}
	out := map[string]string{"format": "pt"}
	set := func(key, value string, ok bool) {
		if ok {
			out[key] = value
		}
	}
	set("variant", m.Variant, m.Variant != "")
	set("classes", strconv.Itoa(m.Classes), m.Classes != 0)
	set("class_names", encode(m.ClassNames), len(m.ClassNames) > 0)
	set("mean", encode(m.Mean), m.Std != [3]float32{})
	set("std", encode(m.Std), m.Std != [3]float32{})
	set("padding", m.Padding, m.Padding != "")
	set("train_size", strconv.Itoa(m.TrainSize), m.TrainSize != 0)
	set("eval_size", strconv.Itoa(m.EvalSize), m.EvalSize != 0)
	for k, v := range m.Provenance {
		out[provenancePrefix+k] = v
	}
	return out
}

// ParseMetadata reads the entries that Map writes and ignores others. A malformed entry is an error that names it.
func ParseMetadata(entries map[string]string) (Metadata, error) {
	m := Metadata{Variant: entries["variant"], Padding: entries["padding"]}
	for key, dst := range map[string]any{"classes": &m.Classes, "class_names": &m.ClassNames, "mean": &m.Mean, "std": &m.Std,
		"train_size": &m.TrainSize, "eval_size": &m.EvalSize} {
		text, ok := entries[key]
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(text), dst); err != nil {
			return Metadata{}, fmt.Errorf("effnetv2: metadata %s is %q: %w", key, text, err)
		}
	}
	if n := len(m.ClassNames); n != 0 && n != m.Classes {
		return Metadata{}, fmt.Errorf("effnetv2: metadata has %d class names, want %d", n, m.Classes)
	}
	for k, v := range entries {
		if name, ok := strings.CutPrefix(k, provenancePrefix); ok {
			if m.Provenance == nil {
				m.Provenance = map[string]string{}
			}
			m.Provenance[name] = v
		}
	}
	return m, nil
}
