package effnetv2

// MACs is the number of multiply-adds of one forward pass over one h x w image: convolutions, squeeze-and-excite and
// classifier. Batch norm, activations, pooling and additions are not counted, as in the published figures.
func (v Variant) MACs(h, w, classes int) int64 {
	half := func(n, stride int) int { return (n + stride - 1) / stride } // both paddings give ceil(n/stride)
	h, w = half(h, 2), half(w, 2)
	macs := int64(h) * int64(w) * int64(3*3*3*v.Stem)
	last := v.Stem
	for _, b := range v.Blocks() {
		in := int64(h) * int64(w)
		h, w = half(h, b.Stride), half(w, b.Stride)
		out := int64(h) * int64(w)
		kk := b.Kernel * b.Kernel
		switch {
		case b.Kind == Fused && b.Expand == 1:
			macs += out * int64(kk*b.In*b.Out)
		case b.Kind == Fused:
			macs += out * int64(kk*b.In*b.Mid+b.Mid*b.Out)
		default:
			if b.Expand != 1 {
				macs += in * int64(b.In*b.Mid)
			}
			macs += out*int64(kk*b.Mid+b.Mid*b.Out) + int64(2*b.Mid*b.SEReduced)
		}
		last = b.Out
	}
	return macs + int64(h)*int64(w)*int64(last*v.Head) + int64(v.Head*classes)
}
