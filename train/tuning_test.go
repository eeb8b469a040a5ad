package train_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/train"
)

// A run with its own kernel variants has the same ones when it is resumed, also where the resuming process has no tuner.
func TestTunedRunResumes(t *testing.T) {
	ctx, data, dev := context.Background(), smallData(t), shadertest.Devices(t)[0]
	stop := make(chan struct{})
	close(stop)

	// What a tuner chooses depends on timing; these choices do not, and are not the shipped ones.
	tuner := kernels.OpenTuner(dev, &kernels.TunerOptions{CacheDir: "off"})
	timed := smallRun(t, data)
	_, err := train.Run(ctx, dev, timed, &train.RunOptions{Tuner: tuner, Stop: stop})
	require.ErrorIs(t, err, train.ErrStopped)
	choices := tuner.Choices()
	require.NotEmpty(t, choices)
	for key := range choices {
		if strings.HasPrefix(key, "depthwise") {
			choices[key] = "narrow/1"
		}
	}

	whole := smallRun(t, data)
	_, err = train.Run(ctx, dev, whole, &train.RunOptions{Tuner: kernels.FixedTuner(dev, choices, nil)})
	require.NoError(t, err)
	cut := smallRun(t, data)
	_, err = train.Run(ctx, dev, cut, &train.RunOptions{Tuner: kernels.FixedTuner(dev, choices, nil), Stop: stop})
	require.ErrorIs(t, err, train.ErrStopped)
	before, err := os.ReadFile(filepath.Join(cut.Out, "tuning.json"))
	require.NoError(t, err)
	_, err = train.Run(ctx, dev, cut, &train.RunOptions{Resume: true})
	require.NoError(t, err)
	assertSame(t, finished(t, whole), finished(t, cut))
	after, err := os.ReadFile(filepath.Join(cut.Out, "tuning.json"))
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))

	shipped := smallRun(t, data)
	_, err = train.Run(ctx, dev, shipped, nil)
	require.NoError(t, err)
	assert.NotEqual(t, finished(t, shipped)["ema"], finished(t, whole)["ema"], "other variants add in another order")
	assert.NoFileExists(t, filepath.Join(shipped.Out, "tuning.json"))
}

func TestTuneProgress(t *testing.T) {
	clock := time.Unix(0, 0)
	tell := func(terminal bool) string {
		var out bytes.Buffer
		progress := train.TuneProgressAt(&out, terminal, func() time.Time { return clock })
		for i := range 3 {
			progress(i, 3, "conv fwd")
			clock = clock.Add(4 * time.Second)
		}
		progress(3, 3, "")
		return out.String()
	}
	var out bytes.Buffer
	progress := train.TuneProgressAt(&out, false, func() time.Time { return clock })
	progress(0, 5, "conv fwd")
	progress(1, 5, "")
	assert.Equal(t, "timed the variants of 1 operations in 0.0 s, for this start and later ones\n4 more keep the shipped variants; the next start goes on\n", out.String())
	const end = "timed the variants of 3 operations in 12.0 s, for this start and later ones\n"
	assert.Equal(t, "tuning 3/3 conv fwd\n"+end, tell(false))
	assert.Equal(t, "\r\x1b[Ktuning 1/3 conv fwd\r\x1b[Ktuning 2/3 conv fwd\r\x1b[Ktuning 3/3 conv fwd\r\x1b[K"+end, tell(true))
}
