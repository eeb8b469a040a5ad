package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	need "github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/train"
)

func TestDrawing(t *testing.T) {
	px := train.Pixels{W: 2, H: 1, Pix: []byte{0, 0, 0, 255, 255, 255, 255, 255}}
	for _, line := range drawing(px) {
		assert.Equal(t, "          ██████████", line)
	}
	assert.Len(t, drawing(px), drawnRows)
}

func TestInTurn(t *testing.T) {
	_, val, err := train.OpenData("demo", nil)
	need.NoError(t, err)
	var classes []int
	for _, i := range inTurn(val, 12) {
		classes = append(classes, val.Label(i))
	}
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}, classes)
	assert.Len(t, inTurn(val, 5000), val.Len())
}
