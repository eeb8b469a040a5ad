package suggest_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/suggest"
)

func TestNearest(t *testing.T) {
	names := []string{"train", "eval", "predict", "--batch", "--size"}
	for _, c := range []struct{ got, want string }{
		{"train", "train"}, {"trian", "train"}, {"TRAIN", "train"}, {"pedict", "predict"}, {"--bacth", "--batch"},
		{"evaluate", ""}, {"x", ""}, {"", ""}, {"convert", ""},
	} {
		assert.Equal(t, c.want, suggest.Nearest(c.got, names), c.got)
	}
	assert.Equal(t, "did you mean eval?", suggest.Hint("evla", names, "no"))
	assert.Equal(t, "no", suggest.Hint("something", names, "no"))
}
