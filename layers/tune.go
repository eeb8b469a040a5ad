package layers

import "github.com/seed-8d806880/vkeffnet/kernels"

// The convolutions below have the variants that the graph's tuner chooses. where names the layer in errors.

func (g *Graph) convFwd(where string, cfg kernels.ConvFwdConfig) *kernels.ConvFwd {
	cfg.Variant = g.opt.Tuner.Choose(cfg)
	op, err := kernels.NewConvFwd(g.dev, cfg)
	return must(g, where, op, err)
}

func (g *Graph) convDgrad(where string, cfg kernels.ConvDgradConfig) *kernels.ConvDgrad {
	cfg.Variant = g.opt.Tuner.Choose(cfg)
	op, err := kernels.NewConvDgrad(g.dev, cfg)
	return must(g, where, op, err)
}

func (g *Graph) convWgrad(where string, cfg kernels.ConvWgradConfig) *kernels.ConvWgrad {
	cfg.Variant = g.opt.Tuner.Choose(cfg)
	op, err := kernels.NewConvWgrad(g.dev, cfg)
	return must(g, where, op, err)
}

func (g *Graph) depthwiseFwd(where string, cfg kernels.DepthwiseFwdConfig) *kernels.DepthwiseFwd {
	cfg.Variant = g.opt.Tuner.Choose(cfg)
	op, err := kernels.NewDepthwiseFwd(g.dev, cfg)
	return must(g, where, op, err)
}

func (g *Graph) depthwiseDgrad(where string, cfg kernels.DepthwiseDgradConfig) *kernels.DepthwiseDgrad {
	cfg.Variant = g.opt.Tuner.Choose(cfg)
	op, err := kernels.NewDepthwiseDgrad(g.dev, cfg)
	return must(g, where, op, err)
}

func (g *Graph) depthwiseWgrad(where string, cfg kernels.DepthwiseWgradConfig) *kernels.DepthwiseWgrad {
	cfg.Variant = g.opt.Tuner.Choose(cfg)
	op, err := kernels.NewDepthwiseWgrad(g.dev, cfg)
	return must(g, where, op, err)
}
