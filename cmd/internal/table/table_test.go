package table_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/table"
)

func TestWriteAlignsColumns(t *testing.T) {
	tab := table.New("NAME", ">COUNT", "NOTE")
	tab.Add("a", "1", "first")
	tab.Add("größer", "12345")
	var b strings.Builder
	require.NoError(t, tab.Write(&b))
	assert.Equal(t, "NAME    COUNT  NOTE\na           1  first\ngrößer  12345\n", b.String())
}

func TestFormat(t *testing.T) {
	assert.Equal(t, "0 B", table.Bytes(0))
	assert.Equal(t, "999 B", table.Bytes(999))
	assert.Equal(t, "1.00 KiB", table.Bytes(1024))
	assert.Equal(t, "512 MiB", table.Bytes(512<<20))
	assert.Equal(t, "0.977 KiB", table.Bytes(1000))
	assert.Equal(t, "0", table.Count(0))
	assert.Equal(t, "5.31 G", table.Count(5.308e9))
	assert.Equal(t, "1.00 k", table.Count(999.9))
	assert.Equal(t, "12.3", table.Millis(12345*time.Microsecond))
	assert.Equal(t, "21,458,488", table.Group(21458488))
	assert.Equal(t, "-123", table.Group(-123))
	assert.Equal(t, "-1,234", table.Group(-1234))
	assert.Equal(t, "12.5%", table.Percent(0.125))
}

func TestBar(t *testing.T) {
	for _, row := range []struct {
		from, to float64
		want     string
	}{
		{0, 1, "████"}, {0, 0.5, "██"}, {0.125, 0.5, "▐█"}, {0.25, 0.625, " █▌"}, {0, 0, ""}, {0, 1e-6, "▌"}, {0.125, 0.13, "▐"}, {1 - 1e-6, 1, "   ▐"},
	} {
		assert.Equal(t, row.want, table.Bar(row.from, row.to, 4), "%v to %v", row.from, row.to)
	}
	assert.Equal(t, "größer", table.Cut("größer", 6))
	assert.Equal(t, "größ…", table.Cut("größer", 5))
}
