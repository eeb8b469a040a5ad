package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// RunOptions are what a run needs besides its configuration; nil takes the zero value, which is silent.
type RunOptions struct {
	Resume   bool            // go on from the newest checkpoint in Config.Out
	NoFuse   bool            // see layers.Options
	Tuner    *kernels.Tuner  // chooses kernel variants; nil: the table of the device's class. A resumed run keeps its choices
	Log      *slog.Logger    // what happens: stages, evaluations, checkpoints
	Progress io.Writer       // a bar on a terminal, else a line every few seconds
	Stop     <-chan struct{} // when closed the run finishes its step, writes a checkpoint and returns ErrStopped
}

// Result is what a run ended with.
type Result struct {
	Top1    float64 `json:"top1"` // of the last evaluation, 0 to 1; the moving averages' in EMATop1
	EMATop1 float64 `json:"ema_top1"`
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"` // of this call
	Weights string  `json:"weights"` // best.safetensors
}

// ErrStopped is what Run returns when RunOptions.Stop ended it; the run can go on with Resume.
var ErrStopped = errors.New("train: stopped")

// Run trains as the configuration says and writes the run's folder Config.Out: config.toml, metrics.jsonl, checkpoints/,
// plots/, best.safetensors and last.safetensors. The same configuration and device give the same weights, bit for bit,
// whether or not the run was interrupted and resumed in between.
//
// Errors a caller can act on: ErrStopped, *ConfigError, *DataError, *ImageError, *NotFiniteError, *FullError,
// *effnetv2.MatchError, vk.ErrOutOfMemory, vk.ErrDeviceLost.
func Run(ctx context.Context, dev *vk.Device, cfg *Config, o *RunOptions) (*Result, error) {
	if o == nil {
		o = &RunOptions{}
	}
	t := &trainer{dev: dev, cfg: *cfg, o: *o, start: time.Now()}
	if t.o.Log == nil {
		t.o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	defer t.close()
	if err := t.prepare(ctx); err != nil {
		return nil, err
	}
	if err := t.loop(ctx); err != nil {
		return nil, err
	}
	return &Result{Top1: float64(t.last.Top1), EMATop1: float64(t.last.EMATop1), Steps: t.plan.Steps,
		Seconds: time.Since(t.start).Seconds(), Weights: filepath.Join(t.cfg.Out, "best.safetensors")}, nil
}

// trainer is a run under way.
type trainer struct {
	dev   *vk.Device
	cfg   Config
	o     RunOptions
	start time.Time

	train, val Dataset
	plan       *Plan
	padding    kernels.Padding
	elem       kernels.Elem
	method     layers.Method

	model   *effnetv2.Model
	state   *state
	staging *staging
	arena   *layers.Arena
	raw     *evaluator // of the weights
	ema     *evaluator // of their moving average
	stages  []*stage

	metrics    *Metrics
	progress   *Progress
	compiling  *Compiling
	waiting    atomic.Bool // for what is compiled: it is worth showing
	begun      bool        // the first step of this call is done
	step       int         // steps done
	skippedRow int         // steps skipped since the last one that was not
	bestTop1   float64
	bestStep   int
	last       EvalRecord
	window     window
}

// window adds up what the next line of metrics.jsonl says.
type window struct {
	steps, counted   int     // counted: those that were not skipped
	loss, top1, norm float64 // of the counted ones
	wait             time.Duration
	begin            time.Time
}

// stage is a stage of progressive learning: its network, and when it is ready.
type stage struct {
	net   *effnetv2.Network
	pipe  *pipeline
	ready chan struct{} // closed when pipe or err is set
	err   error
}

func (t *trainer) close() {
	for _, s := range t.stages {
		if s.ready != nil {
			<-s.ready
		}
		if s.pipe != nil {
			s.pipe.release()
		}
		if s.net != nil {
			s.net.Release()
		}
	}
	for _, e := range []*evaluator{t.raw, t.ema} {
		if e != nil {
			e.release()
		}
	}
	if t.staging != nil {
		t.staging.release()
	}
	if t.arena != nil {
		t.arena.Release()
	}
	if t.state != nil {
		t.state.release()
	}
	if t.model != nil {
		t.model.Release()
	}
	if t.metrics != nil {
		t.metrics.Close()
	}
	if t.progress != nil {
		t.progress.Close()
	}
}

// prepare does all that can fail for lack of something, so that a run that starts can end.
func (t *trainer) prepare(ctx context.Context) (err error) {
	v, err := effnetv2.ByName(t.cfg.Model)
	if err != nil {
		return err
	}
	if t.train, t.val, err = OpenData(t.cfg.Data, &DataOptions{ValSplit: t.cfg.ValSplit, Seed: t.cfg.Seed}); err != nil {
		return err
	}
	if t.val == nil {
		return &ConfigError{"val_split", "0", "more than 0 where the data has no validation part: a run without evaluation cannot tell its best weights"}
	}
	if t.plan, err = t.cfg.Resolve(t.train.Len()); err != nil {
		return err
	}
	if t.padding, err = parsePadding(t.cfg.Padding); err != nil {
		return err
	}
	if t.elem, err = kernels.ParseElem(t.cfg.Precision); err != nil {
		return err
	}
	if err = t.elem.Check(t.dev); err != nil {
		return err
	}
	if t.cfg.Optimizer == "sgd" {
		t.method = layers.SGD
		if t.cfg.Nesterov {
			t.method = layers.NesterovSGD
		}
	}
	checkpoint, err := t.openFolder()
	if err != nil {
		return err
	}
	if checkpoint != nil {
		defer checkpoint.Close()
	}
	if t.model, err = effnetv2.New(t.dev, v, len(t.train.Classes())); err != nil {
		return err
	}
	if err = t.initialWeights(v); err != nil {
		return err
	}
	if t.state, err = newState(ctx, t.model, t.method); err != nil {
		return err
	}
	scale := t.cfg.firstLossScale(t.elem)
	if checkpoint != nil {
		if err = t.restore(checkpoint); err != nil {
			return err
		}
		s := checkpoint.State
		scale.Factor, scale.Good, scale.Skipped = float32(s.LossScale), s.GoodSteps, s.SkippedSteps
	}
	if err = t.setLossScale(scale); err != nil {
		return err
	}
	if t.o.Progress != nil {
		t.progress = NewProgress(t.o.Progress, t.plan, t.cfg.Batch, t.step)
		t.tell("%s on %s, %d images of %d classes to train on, %d held out", v.Name, t.dev.Info().Name, t.train.Len(), len(t.train.Classes()), t.val.Len())
		t.waiting.Store(true)
		t.compiling = newCompiling(func(text string) {
			if t.waiting.Load() {
				t.progress.Status(text)
			}
		}, time.Now)
	}
	if err = t.plans(ctx); err != nil {
		return err
	}
	if err = t.writeFolder(); err != nil {
		return err
	}
	if t.metrics, err = OpenMetrics(filepath.Join(t.cfg.Out, "metrics.jsonl"), t.step); err != nil {
		return err
	}
	_, evals, err := ReadMetrics(filepath.Join(t.cfg.Out, "metrics.jsonl"))
	if err != nil {
		return err
	}
	if n := len(evals); n > 0 {
		t.last = evals[n-1]
	}
	return nil
}

// openFolder checks that the run may go to its folder, and opens the newest checkpoint of a run that is to go on.
func (t *trainer) openFolder() (*Checkpoint, error) {
	if t.cfg.Out == "" {
		return nil, &ConfigError{"out", "empty", "a folder to write to"}
	}
	file := filepath.Join(t.cfg.Out, "config.toml")
	_, err := os.Stat(file)
	exists := err == nil
	if exists && !t.o.Resume {
		return nil, &ConfigError{"out", t.cfg.Out + ", which holds a run", "another folder, or --resume to go on with it"}
	}
	if exists {
		old, err := LoadConfig(file, nil)
		if err != nil {
			return nil, err
		}
		if d := t.cfg.Differences(old); len(d) > 0 {
			return nil, t.cfg.resumeError(old, d[0])
		}
	}
	if !t.o.Resume {
		return nil, nil
	}
	if exists {
		if t.o.Tuner, err = readTuning(t.dev, t.cfg.Out, t.o.Log); err != nil {
			return nil, err
		}
	}
	c, skipped, err := LatestCheckpoint(filepath.Join(t.cfg.Out, "checkpoints"))
	for _, s := range skipped {
		t.o.Log.Warn("passed over a damaged checkpoint", "error", s)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // stopped before the first checkpoint: begin again
	}
	return c, err
}

// writeFolder makes the run's folder. It comes last, so that a run which could not begin leaves none in the way of the next.
func (t *trainer) writeFolder() error {
	if err := os.MkdirAll(filepath.Join(t.cfg.Out, "checkpoints"), 0o755); err != nil {
		return writeError(t.cfg.Out, err)
	}
	if err := writeTuning(t.o.Tuner, t.cfg.Out); err != nil {
		return err
	}
	info := t.dev.Info()
	t.cfg.Run = &RunInfo{Version: version(), Go: runtime.Version(), Device: info.Name, Driver: info.Driver, Tuned: t.o.Tuner != nil}
	return t.cfg.Write(filepath.Join(t.cfg.Out, "config.toml"))
}

// version is the module's version, as the Go tool recorded it.
func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}

func (t *trainer) initialWeights(v effnetv2.Variant) error {
	if t.cfg.Weights == "" {
		return t.model.Init(t.cfg.Seed)
	}
	sd, err := effnetv2.ReadFile(t.cfg.Weights)
	if err != nil {
		return err
	}
	tensors, err := v.Match(sd, t.model.Classes)
	if err != nil {
		return err
	}
	return t.model.Load(tensors)
}

// restore takes weights, slots and averages from a checkpoint.
func (t *trainer) restore(c *Checkpoint) error {
	for _, b := range t.state.blobs() {
		r, n, err := c.Blob(b.name)
		if err != nil {
			return err
		}
		if n != b.rng.Size {
			return &CorruptError{c.File, fmt.Sprintf("%s of %d bytes", b.name, n), fmt.Sprintf("%d", b.rng.Size)}
		}
		data := make([]byte, min(n, blobPiece))
		for off := int64(0); off < n; off += blobPiece {
			piece := data[:min(blobPiece, n-off)]
			if _, err := io.ReadFull(r, piece); err != nil {
				return fmt.Errorf("train: checkpoint %s: %w", c.File, err)
			}
			if err := t.dev.Upload(b.rng.Slice(off, int64(len(piece))), piece); err != nil {
				return err
			}
		}
	}
	t.step, t.bestTop1, t.bestStep = c.State.Step, c.State.BestTop1, c.State.BestStep
	t.o.Log.Info("resumed", "checkpoint", c.File, "step", t.step)
	return nil
}

// blobPiece is how much of a buffer a checkpoint moves at once.
const blobPiece = int64(8) << 20

// network is what a stage of training builds.
func (t *trainer) network(s Stage) effnetv2.BuildOptions {
	return effnetv2.BuildOptions{Mode: layers.Train, Batch: t.cfg.Batch, H: s.Size, W: s.Size, Padding: t.padding, Elem: t.elem,
		NoFuse: t.o.NoFuse, Tuner: t.o.Tuner, Step: t.state.step.Range(), LossScale: t.state.lossScale.Range(), Loss: true, Grads: t.state.grads.Range(), Method: t.method, Slots: t.state.slots()}
}

// plans lets the tuner time what it does not know, lays out every stage and both evaluations, takes the memory for the largest of
// them, and compiles the first stage and the evaluations. Later stages compile while earlier ones run.
func (t *trainer) plans(ctx context.Context) error {
	eval := EvalOptions{Batch: t.cfg.EvalBatch, Size: t.cfg.EvalSize, Crop: t.cfg.EvalCrop, Mean: t.cfg.Mean, Std: t.cfg.Std,
		Padding: t.padding, Elem: t.elem, NoFuse: t.o.NoFuse, Tuner: t.o.Tuner, Workers: t.cfg.Workers, Compiling: t.compiling}
	networks := []effnetv2.BuildOptions{eval.network()}
	for _, s := range t.plan.Stages {
		networks = append(networks, t.network(s))
	}
	if err := t.model.Tune(ctx, t.o.Tuner, networks...); err != nil {
		return err
	}
	t.arena = layers.NewArena(t.dev)
	var arena, pixels int64
	for i, s := range t.plan.Stages {
		net, err := t.model.Build(networks[1+i])
		if err != nil {
			return err
		}
		t.stages = append(t.stages, &stage{net: net})
		arena = max(arena, net.ArenaBytes())
		pixels = max(pixels, BatchBytes(t.train, t.cfg.Batch, s.Size))
	}
	if err := t.arena.Reserve(arena); err != nil {
		return fmt.Errorf("train: a batch of %d images does not fit the device, a smaller --batch may: %w", t.cfg.Batch, err)
	}
	var err error
	if t.staging, err = newStaging(t.dev, t.cfg.Batch, pixels, 256); err != nil {
		return err
	}
	evalPixels := BatchBytes(t.val, eval.Batch, eval.Size)
	if t.raw, err = newEvaluator(ctx, t.model, eval, t.arena, evalPixels, vk.Range{}, vk.Range{}); err != nil {
		return err
	}
	if t.ema, err = newEvaluator(ctx, t.model, eval, t.arena, evalPixels, t.state.ema.Range(), t.state.statsEMA.Range()); err != nil {
		return err
	}
	t.compile(ctx, t.plan.StageAt(t.step))
	return nil
}

// compile starts to compile a stage's programs, once.
func (t *trainer) compile(ctx context.Context, i int) {
	if i >= len(t.stages) || t.stages[i].ready != nil {
		return
	}
	s, c := t.stages[i], t.plan.Stages[i]
	s.ready = make(chan struct{})
	go func() {
		defer close(s.ready)
		if s.err = s.net.Realize(ctx, t.arena, t.compiling.Options()); s.err != nil {
			return
		}
		s.pipe, s.err = newPipeline(ctx, t.dev, s.net, t.staging, t.compiling, pipelineConfig{size: c.Size, elem: t.elem, ops: t.cfg.AugmentOps,
			mean: narrow(t.cfg.Mean), std: narrow(t.cfg.Std), step: t.state.step.Range(),
			pixels: BatchBytes(t.train, t.cfg.Batch, c.Size)}, s.net.Loss.Metrics)
	}()
}

// enter waits until a stage is compiled and starts compiling the next one.
func (t *trainer) enter(ctx context.Context, i int) (*stage, error) {
	t.compile(ctx, i)
	s := t.stages[i]
	t.waiting.Store(true)
	defer t.waiting.Store(false)
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	t.compile(ctx, i+1)
	c := t.plan.Stages[i]
	t.o.Log.Info("stage", "stage", i+1, "of", len(t.stages), "size", c.Size, "magnitude", c.Magnitude, "mixup", c.Mixup, "dropout", c.Dropout)
	_, end := t.plan.Bounds(i)
	t.tell("stage %d of %d: images of %dx%d to step %d, RandAugment %.3g, mixup %.3g, dropout %.3g", i+1, len(t.stages), c.Size, c.Size, end,
		c.Magnitude, c.Mixup, c.Dropout)
	t.window = window{begin: time.Now()}
	return s, nil
}

// tell prints a line for whoever watches the progress.
func (t *trainer) tell(format string, args ...any) {
	if t.progress != nil {
		t.progress.Print(fmt.Sprintf(format, args...))
	}
}

// scalars are the step buffer's content for a step.
func (t *trainer) scalars(s StepSettings) kernels.StepScalars {
	return kernels.StepScalars{Step: uint32(s.Step), SeedLo: uint32(t.cfg.Seed), SeedHi: uint32(t.cfg.Seed >> 32),
		LR: float32(s.LR), Momentum: float32(t.cfg.Momentum), Rho: float32(t.cfg.Rho), Eps: float32(t.cfg.Epsilon),
		WeightDecay: float32(t.cfg.WeightDecay), EMADecay: float32(s.EMADecay), ClipNorm: float32(t.cfg.ClipNorm),
		Dropout: float32(s.Dropout), DropPath: float32(s.DropPath), Smoothing: float32(t.cfg.Smoothing)}
}

// every reports whether a multiple of so many epochs ends with the steps done; 0 epochs never do.
func (t *trainer) every(epochs float64) bool {
	if epochs <= 0 {
		return false
	}
	per := max(int(epochs*float64(t.plan.StepsPerEpoch)+0.5), 1)
	return t.step%per == 0
}

// stopped reports whether the run shall end after this step.
func (t *trainer) stopped() bool {
	select {
	case <-t.o.Stop:
		return true
	default:
		return false
	}
}

// loop runs the steps that are left, and evaluates and saves between them.
func (t *trainer) loop(ctx context.Context) (err error) {
	if t.step >= t.plan.Steps { // resumed after the end
		return t.finish(ctx)
	}
	sampler, err := NewSampler(t.train.Len(), t.cfg.Batch, t.cfg.Seed)
	if err != nil {
		return err
	}
	loader, err := NewLoader(LoaderConfig{Data: t.train, Next: TrainRequests(t.plan, sampler, t.cfg.Augment(), t.step),
		Buffers: t.staging.buffers(), Workers: t.cfg.Workers})
	if err != nil {
		return err
	}
	defer loader.Close()
	current := t.plan.StageAt(t.step)
	s := newSteps(t, loader)
	defer s.end(ctx)
	if s.stage, err = t.enter(ctx, current); err != nil {
		return err
	}
	for t.step < t.plan.Steps {
		if i := t.plan.StageAt(t.step); i != current {
			if s.stage, err = t.enter(ctx, i); err != nil {
				return err
			}
			current = i
		}
		if err := s.next(ctx); err != nil {
			return err
		}
		stageEnd := t.plan.StageAt(t.step) != current || t.step == t.plan.Steps
		evaluate, save, stop := stageEnd || t.every(t.cfg.EvalEvery), stageEnd || t.every(t.cfg.CheckpointEvery), t.stopped()
		if !evaluate && !save && !stop {
			continue
		}
		if err := s.flush(ctx, 0); err != nil {
			return err
		}
		if err := t.pause(ctx, current, evaluate, save || stop, stageEnd); err != nil {
			return err
		}
		if stop && t.step < t.plan.Steps {
			return ErrStopped
		}
	}
	return t.finish(ctx)
}

// record takes down the figures of a finished step.
func (t *trainer) record(f *flight, out []byte) error {
	s := f.batch.StepSettings
	if !t.begun {
		t.begun = true
		t.o.Log.Info("first step", "after", time.Since(t.start), "kernels", t.dev.CompileStats().Pipelines)
	}
	w := &t.window
	w.steps++
	if word(out, 4) != 0 {
		if err := t.skipped(s.Step, word(out, 5)); err != nil {
			return err
		}
	} else {
		t.skippedRow = 0
		w.counted++
		w.loss += word(out, 0)
		w.top1 += word(out, 1) / float64(t.cfg.Batch)
		w.norm += word(out, 3)
	}
	if t.progress != nil {
		t.progress.Step(s.Step+1, word(out, 0))
	}
	done := s.Step + 1
	_, end := t.plan.Bounds(s.Stage)
	if done%t.cfg.LogEvery != 0 && done != end {
		return nil
	}
	n, counted, seconds := float64(w.steps), float64(w.counted), time.Since(w.begin).Seconds()
	r := TrainRecord{Step: done, Epoch: float64(done) / float64(t.plan.StepsPerEpoch), Stage: s.Stage + 1, Size: s.Size, Batch: t.cfg.Batch,
		LR: s.LR, Loss: Number(w.loss / counted), Top1: Number(w.top1 / counted), GradNorm: Number(w.norm / counted),
		ImagesPerS: n * float64(t.cfg.Batch) / seconds, WaitMS: 1e3 * w.wait.Seconds() / n, LossScale: word(out, 5), SkippedSteps: int(word(out, 6))}
	r.DeviceMS = max(1e3*seconds/n-r.WaitMS, 0)
	t.window = window{begin: time.Now()}
	return t.metrics.Train(r)
}

// pause evaluates and saves between two steps, as asked.
func (t *trainer) pause(ctx context.Context, stage int, evaluate, save, stageEnd bool) error {
	defer func(begin time.Time) { // the time does not count as training
		t.window.begin = t.window.begin.Add(time.Since(begin))
		if t.progress != nil {
			t.progress.Pause()
		}
	}(time.Now())
	better := false
	if evaluate {
		var err error
		if better, err = t.evaluate(ctx, stage); err != nil {
			return err
		}
	}
	if !save && !better {
		return nil
	}
	scale, err := t.lossScale()
	if err != nil {
		return err
	}
	file, err := SaveCheckpoint(filepath.Join(t.cfg.Out, "checkpoints"), State{Step: t.step,
		Epoch: float64(t.step) / float64(t.plan.StepsPerEpoch), Stage: stage, Seed: t.cfg.Seed, LossScale: float64(scale.Factor),
		GoodSteps: scale.Good, SkippedSteps: scale.Skipped, BestTop1: t.bestTop1, BestStep: t.bestStep}, t.blobs(), t.cfg.Keep)
	if err != nil {
		return err
	}
	if better {
		if err := KeepCheckpoint(file, "best"); err != nil {
			return err
		}
	}
	if stageEnd {
		return KeepCheckpoint(file, fmt.Sprintf("stage-%d", stage+1))
	}
	return nil
}

// evaluate runs both evaluations, notes them, and keeps the better weights if they are the best so far.
func (t *trainer) evaluate(ctx context.Context, stage int) (better bool, err error) {
	begin := time.Now()
	raw, err := t.raw.evaluate(ctx, t.val)
	if err != nil {
		return false, err
	}
	ema, err := t.ema.evaluate(ctx, t.val)
	if err != nil {
		return false, err
	}
	t.last = EvalRecord{Step: t.step, Epoch: float64(t.step) / float64(t.plan.StepsPerEpoch), Stage: stage + 1, Size: t.cfg.EvalSize,
		Batch: t.cfg.EvalBatch, Images: raw.Images, Loss: Number(raw.Loss), Top1: Number(raw.Top1), Top5: Number(raw.Top5),
		EMALoss: Number(ema.Loss), EMATop1: Number(ema.Top1), EMATop5: Number(ema.Top5),
		ImagesPerS: 2 * float64(raw.Images) / time.Since(begin).Seconds()}
	if err := t.metrics.Eval(t.last); err != nil {
		return false, err
	}
	t.o.Log.Info("evaluation", "step", t.step, "top1", raw.Top1, "ema_top1", ema.Top1, "loss", raw.Loss, "ema_loss", ema.Loss)
	t.tell("epoch %.3g: top-1 %.2f%%, of the averaged weights %.2f%%, over %d images", t.last.Epoch, 100*raw.Top1, 100*ema.Top1, raw.Images)
	if train, eval, err := ReadMetrics(filepath.Join(t.cfg.Out, "metrics.jsonl")); err != nil {
		return false, err
	} else if err := WritePlots(filepath.Join(t.cfg.Out, "plots"), train, eval); err != nil {
		return false, err
	}
	top1 := math.Max(raw.Top1, ema.Top1)
	if top1 <= t.bestTop1 && t.bestStep > 0 {
		return false, nil
	}
	t.bestTop1, t.bestStep = top1, t.step
	return true, t.saveWeights("best.safetensors")
}

// saveWeights writes the better of weights and moving average by the last evaluation.
func (t *trainer) saveWeights(name string) error {
	weights, stats, kind, top1 := t.model.Weights(), t.model.Stats(), "weights", t.last.Top1
	if t.last.EMATop1 >= t.last.Top1 {
		weights, stats, kind, top1 = t.state.ema.Range(), t.state.statsEMA.Range(), "moving average", t.last.EMATop1
	}
	tensors, err := t.model.Tensors(weights, stats)
	if err != nil {
		return err
	}
	return saveModel(filepath.Join(t.cfg.Out, name), t.model.Variant, tensors, effnetv2.Metadata{Variant: t.cfg.Model, Classes: t.model.Classes,
		ClassNames: t.train.Classes(), Mean: narrow(t.cfg.Mean), Std: narrow(t.cfg.Std), Padding: t.cfg.Padding,
		TrainSize: t.plan.MaxSize(), EvalSize: t.cfg.EvalSize, Provenance: map[string]string{"step": fmt.Sprint(t.step), "kind": kind,
			"top1": fmt.Sprintf("%.4f", float64(top1)), "data": t.cfg.Data, "eval_crop": string(t.cfg.EvalCrop), "vkeffnet": version()}})
}

// blobs are the state's buffers as a checkpoint streams them.
func (t *trainer) blobs() []Blob {
	var out []Blob
	for _, b := range t.state.blobs() {
		out = append(out, Blob{Name: b.name, Type: "F32", Size: b.rng.Size, Write: func(w io.Writer) error {
			data := make([]byte, min(b.rng.Size, blobPiece))
			for off := int64(0); off < b.rng.Size; off += blobPiece {
				piece := data[:min(blobPiece, b.rng.Size-off)]
				if err := t.dev.Download(b.rng.Slice(off, int64(len(piece))), piece); err != nil {
					return err
				}
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	return out
}

// finish writes the last weights.
func (t *trainer) finish(ctx context.Context) error {
	if t.last.Step != t.step { // stopped in its last step
		if _, err := t.evaluate(ctx, len(t.stages)-1); err != nil {
			return err
		}
	}
	return t.saveWeights("last.safetensors")
}
