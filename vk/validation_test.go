package vk_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// record fills a recorder with every kind of call and every kind of hazard.
func record(rec *vk.Recorder, x, y *vk.Buffer) {
	rec.Mark("fill")
	rec.Fill(x.Range(), 0)
	rec.Fill(y.Range(), 0)
	rec.Mark("work")
	rec.Dispatch(callSpin(1, x.Range()))
	rec.Dispatch(callSaxpy(1, x.Range(), y.Range()))                               // RAW on x
	rec.Dispatch(callSpin(1, x.Range()))                                           // WAR on x
	rec.Copy(y.Range().Slice(0, 256), x.Range().Slice(256, 256))                   // RAW and WAW, transfer after shader
	rec.Dispatch(callSaxpy(2, x.Range().Slice(0, 256), y.Range().Slice(256, 256))) // beside the copy: no hazard
	rec.Dispatch(callSaxpy(2, x.Range().Slice(0, 256), y.Range().Slice(0, 256)))   // WAW, shader after transfer
	rec.Fill(y.Range(), 7)                                                         // WAW
}

func TestCorrectProgramIsSilent(t *testing.T) {
	for _, disable := range [][]string{nil, {"unifiedMemory"}} {
		for _, stamps := range []bool{false, true} {
			d := open(t, &vk.Options{Validate: true, Disable: disable})
			x, y := newBuffer(t, d, "x", 4096), newBuffer(t, d, "y", 4096)
			rec := d.NewRecorder("silent")
			record(rec, x, y)
			p, err := rec.Build(context.Background(), &vk.BuildOptions{Timestamps: stamps})
			require.NoError(t, err)
			for range 4 {
				require.NoError(t, d.Upload(x.Range(), repeat(1, 1024)))
				require.NoError(t, p.Run(context.Background()))
				downloadFloats(t, y.Range())
			}
			assert.NoError(t, d.Err())
			require.NoError(t, d.Close(), "every message is an error of Close")
		}
	}
}

func TestPlantedHazardIsCaught(t *testing.T) {
	d, err := vk.Open(&vk.Options{Validate: true, CacheDir: "off"})
	require.NoError(t, err)
	x, y := newBuffer(t, d, "x", 4096), newBuffer(t, d, "y", 4096)
	rec := d.NewRecorder("hazard")
	record(rec, x, y)
	_, err = vk.BuildWithoutBarriers(rec)
	require.ErrorIs(t, err, vk.ErrValidation)
	assert.ErrorContains(t, err, "SYNC-HAZARD")
	assert.NoError(t, d.Close())
}
