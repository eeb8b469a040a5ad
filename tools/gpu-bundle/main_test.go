package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fakeCommand answers like vkeffnet on a machine with one GPU.
const fakeCommand = `#!/bin/sh
case "$1 $3" in
"devices "*) echo '{"devices":[{"name":"Card 1","driver":"D 1.2","type":"discrete","memory_bytes":8589934592,"chosen":true,"refused":""}]}' ;;
"selftest "*)
	echo '{"kernel":"conv fwd","variant":"tiled","ok":true,"nmse":1e-12,"hint":""}'
	echo '{"kernel":"conv fwd","variant":"simple","ok":false,"nmse":0.5,"hint":"--no-tune"}'
	echo '{"ok":false,"kernels":2,"failed":1}'
	exit 1 ;;
"bench kernels") echo '{"device":{},"results":[{"suite":"kernels","name":"conv_fwd","model":"S","precision":"f16","median_ms":0.5,"gflops":900,"gbps":100,"ceiling_share":0.4}]}' ;;
"bench train")
	[ "$6 $8 ${10} ${12}" = "f32 b0 64 8" ] || { echo "vkeffnet: error: does not fit" >&2; exit 1; }
	echo '{"results":[{"suite":"train","model":"B0","size":64,"batch":8,"precision":"f32","median_ms":4,"images_per_s":2000,"first_step_ms":900}]}' ;;
*) echo "vkeffnet: error: no such thing" >&2; exit 2 ;;
esac
`

// fakeTest is a test binary that looks for its data beside itself.
const fakeTest = `#!/bin/sh
cat testdata/x >/dev/null || exit 1
printf '=== RUN   TestA\n    --- PASS: TestA/b (0.00s)\n--- PASS: TestA (0.01s)\n--- FAIL: TestC (0.02s)\n--- SKIP: TestD (0.00s)\nFAIL\n'
exit 1
`

func TestReport(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o755))
	}
	put("programs/bin/vkeffnet", fakeCommand)
	put("version", "abc 2026-01-01\n")
	put("programs/pkg/kernels/testdata/x", "1")
	put("programs/pkg/kernels/package.test", fakeTest)

	// A python3 of ours, so that the result does not depend on the machine's.
	put("path/python3", "#!/bin/sh\n[ \"$1\" != -c ] || { echo 2.0 True; exit; }\n"+
		`[ "$3 $5 $7 $9" = "train b0 64 8" ] || exit 1`+"\n"+
		`echo '{"peer":"pytorch 2.0","source":"timm 1","suite":"train","model":"b0","size":64,"batch":8,"precision":"f32","compiled":true,"median_ms":8,"images_per_s":1000,"first_step_ms":30}'`+"\n")
	t.Setenv("PATH", filepath.Join(dir, "path")+":"+os.Getenv("PATH"))

	b := &bundle{dir: dir, out: filepath.Join(dir, "out"), deadline: time.Now().Add(time.Minute), log: io.Discard}
	ok, err := b.run(context.Background(), true)
	require.NoError(t, err)
	assert.False(t, ok)

	data, err := os.ReadFile(filepath.Join(dir, "out", "report.json"))
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(data, &r))
	assert.False(t, r.OK)
	assert.Equal(t, "Card 1", r.Devices[0]["name"])
	assert.Equal(t, 2, r.Selftest.Kernels)
	assert.Len(t, r.Selftest.Failed, 1)
	require.Len(t, r.Tests, 1)
	assert.Equal(t, []string{"TestC"}, r.Tests[0].Failed)
	assert.Equal(t, []int{2, 1}, []int{r.Tests[0].Passed, r.Tests[0].Skipped})

	page, err := os.ReadFile(filepath.Join(dir, "out", "report.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"| Card 1 | D 1.2 | discrete | 8.0 GiB | **yes** |",
		"2 kernels and variants, 1 wrong.",
		"- conv fwd simple: NMSE 0.5; --no-tune",
		"| kernels | **FAILED** exit status 1: ",
		"- kernels: TestC",
		"| train b0 8 x 64 | vkeffnet | f32 | 4.00 | 2000.0 | | 900 |",
		"| | pytorch 2.0, timm 1 | f32 compiled | 8.00 | 1000.0 | 2.00 | 30 |",
		"| conv_fwd | S | f16 | 0.5 | 900 | 100 | 0.40 |",
		"`vkeffnet bench --suite train --json --precision f16 --model s --size 300 --batch 128`: exit status 1: vkeffnet: error: does not fit",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("report.md lacks %q", want)
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "out", "logs", "test_kernels.log"))
	require.NoError(t, err)
	assert.Contains(t, string(log), "--- FAIL: TestC")
}

func TestBudgetOver(t *testing.T) {
	b := &bundle{dir: t.TempDir(), out: t.TempDir(), deadline: time.Now().Add(-time.Second), log: io.Discard}
	_, err := b.command(context.Background(), "x", time.Second, "", "true")
	assert.EqualError(t, err, "not run: the time of -budget is over")
}
