package train

import (
	"fmt"
	"strconv"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// OpenModel reads a weights file into a new model on the device: safetensors or a PyTorch state_dict, under timm's or
// torchvision's names. The variant is what the metadata says, else what the tensors fit. The metadata that a file lacks
// is filled in: the variant's sizes, the published normalisation, class numbers as names. The caller releases the model.
func OpenModel(dev *vk.Device, path string) (*effnetv2.Model, *effnetv2.Metadata, error) {
	sd, err := effnetv2.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	meta, err := effnetv2.ParseMetadata(sd.Metadata)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %s: %w", path, err)
	}
	var v effnetv2.Variant
	if meta.Variant != "" {
		v, err = effnetv2.ByName(meta.Variant)
	} else {
		v, _, err = effnetv2.DetectVariant(sd)
	}
	if err != nil {
		return nil, nil, err
	}
	classes := sd.Classes()
	tensors, err := v.Match(sd, classes)
	if err != nil {
		return nil, nil, err
	}
	m, err := effnetv2.New(dev, v, classes)
	if err != nil {
		return nil, nil, err
	}
	if err := m.Load(tensors); err != nil {
		m.Release()
		return nil, nil, err
	}
	meta.Variant, meta.Classes = v.Name, classes
	if meta.EvalSize == 0 {
		meta.TrainSize, meta.EvalSize = v.TrainSize, v.EvalSize
	}
	if meta.Padding == "" {
		meta.Padding = "torch"
	}
	if meta.Std == [3]float32{} {
		c, err := DefaultConfig(v, "")
		if err != nil {
			m.Release()
			return nil, nil, err
		}
		meta.Mean, meta.Std = narrow(c.Mean), narrow(c.Std)
	}
	if len(meta.ClassNames) == 0 {
		for i := range classes {
			meta.ClassNames = append(meta.ClassNames, strconv.Itoa(i))
		}
	}
	return m, &meta, nil
}

// EvalOptionsOf are the options under which a weights file's network was meant to be evaluated.
func EvalOptionsOf(meta *effnetv2.Metadata, batch int) (EvalOptions, error) {
	padding, err := parsePadding(meta.Padding)
	o := EvalOptions{Batch: batch, Size: meta.EvalSize, Crop: CropCentre, Padding: padding}
	if crop := EvalCrop(meta.Provenance["eval_crop"]); crop != "" {
		o.Crop = crop
	} else if meta.EvalSize >= 320 {
		o.Crop = CropSquash
	}
	for i := range 3 {
		o.Mean[i], o.Std[i] = float64(meta.Mean[i]), float64(meta.Std[i])
	}
	return o, err
}

func parsePadding(name string) (kernels.Padding, error) {
	switch name {
	case "torch":
		return kernels.PadTorch, nil
	case "same":
		return kernels.PadSame, nil
	}
	return 0, &ConfigError{"padding", strconv.Quote(name), "torch or same"}
}

// saveModel writes tensors under timm's names to a weights file, at once.
func saveModel(path string, v effnetv2.Variant, tensors map[string][]float32, meta effnetv2.Metadata) error {
	sd, err := v.StateDict(meta.Classes, tensors, effnetv2.Timm)
	if err != nil {
		return err
	}
	sd.Metadata = meta.Map()
	return sd.WriteFile(path)
}
