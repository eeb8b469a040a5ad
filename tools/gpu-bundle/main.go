// Command gpu-bundle is the program inside the folder that `make gpu-bundle` builds (there programs/bin/report, called by run.sh).
// On a machine with a GPU and without Go it runs vkeffnet's self-test, all compiled tests and the benchmarks, times
// PyTorch on the same work where python3 has it, and leaves report.json, report.md and the logs.
//
// It goes on when a part fails and exits with 1 at the end if one did.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// report is report.json.
type report struct {
	Version  string           `json:"version"` // commit of the bundle
	Started  time.Time        `json:"started"`
	Seconds  float64          `json:"seconds"`
	Machine  machine          `json:"machine"`
	Devices  []map[string]any `json:"devices"` // as `vkeffnet devices --json` gives them
	Selftest selftest         `json:"selftest"`
	Tests    []testRun        `json:"tests"`
	Bench    []benchRun       `json:"bench"`
	Peer     []benchRun       `json:"peer"`
	OK       bool             `json:"ok"`
}

type machine struct {
	OS     string `json:"os"`
	CPUs   int    `json:"cpus"`
	GPU    string `json:"gpu"`   // nvidia-smi's line, if there is one
	Torch  string `json:"torch"` // version, or why there is none
	Driver string `json:"vulkan_icd"`
}

type selftest struct {
	OK      bool             `json:"ok"`
	Kernels int              `json:"kernels"`
	Failed  []map[string]any `json:"failed"`
	Error   string           `json:"error,omitempty"`
}

type testRun struct {
	Package string   `json:"package"`
	OK      bool     `json:"ok"`
	Passed  int      `json:"passed"`
	Failed  []string `json:"failed"`
	Skipped int      `json:"skipped"`
	Seconds float64  `json:"seconds"`
	Error   string   `json:"error,omitempty"`
}

// benchRun is one call of `vkeffnet bench` or of the peer.
type benchRun struct {
	Command string           `json:"command"`
	Results []map[string]any `json:"results"`
	Error   string           `json:"error,omitempty"`
}

// bundle runs the parts.
type bundle struct {
	dir, out string
	deadline time.Time
	log      io.Writer
}

func main() {
	dir := flag.String("bundle", ".", "`folder` of the bundle")
	out := flag.String("out", "", "`folder` for the report (default: report, in the bundle)")
	budget := flag.Duration("budget", 25*time.Minute, "`time` after which no further part starts")
	noPeer := flag.Bool("no-peer", false, "do not time PyTorch")
	flag.Parse()
	if *out == "" {
		*out = filepath.Join(*dir, "report")
	}
	b := &bundle{dir: *dir, out: *out, deadline: time.Now().Add(*budget), log: os.Stderr}
	ok, err := b.run(context.Background(), !*noPeer)
	if err != nil {
		fmt.Fprintf(os.Stderr, "gpu-bundle: error: %v\n", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// run does everything and writes the reports; it returns whether all that ran was right.
func (b *bundle) run(ctx context.Context, peer bool) (bool, error) {
	var err error
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Join(b.out, "logs"), 0o755); err != nil {
		return false, err
	}
	start := time.Now()
	r := &report{Started: start.UTC().Truncate(time.Second)}
	version, _ := os.ReadFile(filepath.Join(b.dir, "version"))
	r.Version = strings.TrimSpace(string(version))
	r.Machine = b.machine(ctx)
	r.Devices = b.devices(ctx)
	r.Selftest = b.selftest(ctx)
	b.save(r, start)
	if r.Tests, err = b.tests(ctx); err != nil {
		return false, err
	}
	b.save(r, start)
	peer = peer && r.hasTorch()
	for _, w := range workFor(r.Devices) {
		r.Bench = append(r.Bench, b.bench(ctx, w)...)
		if peer {
			r.Peer = append(r.Peer, b.peer(ctx, w)...)
		}
		b.save(r, start)
	}
	return r.OK, b.save(r, start)
}

// save writes both reports; it is called after every part, so that a machine that is lost leaves what it had.
func (b *bundle) save(r *report, start time.Time) error {
	r.Seconds = time.Since(start).Round(100 * time.Millisecond).Seconds()
	r.OK = r.Selftest.OK
	for _, t := range r.Tests {
		r.OK = r.OK && t.OK
	}
	for _, x := range r.Bench {
		r.OK = r.OK && x.Error == ""
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(b.out, "report.json"), append(data, '\n'), 0o644),
		os.WriteFile(filepath.Join(b.out, "report.md"), []byte(r.markdown()), 0o644))
}

// command runs a program with its output in logs/NAME.log and returns its standard output. It gives up after limit.
func (b *bundle) command(ctx context.Context, name string, limit time.Duration, dir, program string, args ...string) ([]byte, error) {
	if time.Now().After(b.deadline) {
		return nil, errors.New("not run: the time of -budget is over")
	}
	fmt.Fprintf(b.log, "%s\n", name)
	log, err := os.Create(filepath.Join(b.out, "logs", fileName.ReplaceAllString(name, "_")+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fmt.Fprintf(log, "$ %s %s\n", program, strings.Join(args, " "))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var stdout bytes.Buffer
	var last lastLines
	cmd.Stdout = io.MultiWriter(&stdout, log)
	cmd.Stderr = io.MultiWriter(&last, log)
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("stopped after %s", limit)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, last.text())
	}
	return stdout.Bytes(), err
}

var fileName = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// lastLines keeps the end of what is written to it, for error messages.
type lastLines struct{ b []byte }

func (l *lastLines) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	l.b = l.b[max(0, len(l.b)-600):]
	return len(p), nil
}

func (l *lastLines) text() string { return strings.Join(strings.Fields(string(l.b)), " ") }

func (b *bundle) vkeffnet() string { return filepath.Join(b.dir, "programs", "bin", "vkeffnet") }

func (b *bundle) machine(ctx context.Context) machine {
	m := machine{OS: runtime.GOOS + "/" + runtime.GOARCH, CPUs: runtime.NumCPU(), Driver: os.Getenv("VK_ICD_FILENAMES")}
	release, _ := os.ReadFile("/etc/os-release")
	if _, after, ok := strings.Cut(string(release), "PRETTY_NAME=\""); ok {
		m.OS, _, _ = strings.Cut(after, "\"")
	}
	if out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader").Output(); err == nil {
		m.GPU = strings.TrimSpace(string(out))
	}
	out, err := b.command(ctx, "torch version", 2*time.Minute, "", "python3", "-c", "import torch; print(torch.__version__, torch.cuda.is_available())")
	m.Torch = strings.TrimSpace(string(out))
	if err != nil {
		m.Torch = "none: " + err.Error()
	}
	return m
}

func (r *report) hasTorch() bool { return !strings.HasPrefix(r.Machine.Torch, "none: ") }

func (b *bundle) devices(ctx context.Context) []map[string]any {
	out, err := b.command(ctx, "devices", time.Minute, "", b.vkeffnet(), "devices", "--json")
	var list struct {
		Devices []map[string]any `json:"devices"`
	}
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		return []map[string]any{{"name": "none", "refused": err.Error()}}
	}
	return list.Devices
}

// selftest reads one JSON object a line; the last has no "kernel".
func (b *bundle) selftest(ctx context.Context) selftest {
	out, err := b.command(ctx, "selftest", 10*time.Minute, "", b.vkeffnet(), "selftest", "--json")
	var s selftest
	seen := false
	for _, line := range jsonLines(out) {
		if _, kernel := line["kernel"]; !kernel {
			s.OK, _ = line["ok"].(bool)
			seen = true
			continue
		}
		s.Kernels++
		if ok, _ := line["ok"].(bool); !ok {
			s.Failed = append(s.Failed, line)
		}
	}
	if err == nil && !seen {
		err = errors.New("no last line with the result")
	}
	if err != nil {
		s.OK, s.Error = false, err.Error()
	}
	return s
}

// jsonLines decodes the JSON objects of a stream, one a line, and passes over what is none.
func jsonLines(out []byte) []map[string]any {
	var objects []map[string]any
	for _, line := range bytes.Split(out, []byte("\n")) {
		var o map[string]any
		if json.Unmarshal(line, &o) == nil && o != nil {
			objects = append(objects, o)
		}
	}
	return objects
}

// tests runs every pkg/**/package.test in its folder.
func (b *bundle) tests(ctx context.Context) ([]testRun, error) {
	root := filepath.Join(b.dir, "programs", "pkg")
	var runs []testRun
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "package.test" {
			return err
		}
		dir := filepath.Dir(path)
		name, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		start := time.Now()
		// Tests of that ending compile shaders again, which takes the sources and a compiler.
		out, runErr := b.command(ctx, "test "+name, 20*time.Minute, dir, path, "-test.v", "-test.timeout=19m", "-test.skip=IsCurrent$")
		t := parseTests(out)
		t.Package, t.Seconds = name, time.Since(start).Round(100*time.Millisecond).Seconds()
		t.OK = runErr == nil
		if runErr != nil {
			t.Error = runErr.Error()
		}
		runs = append(runs, t)
		return nil
	})
	return runs, err
}

var resultLine = regexp.MustCompile(`(?m)^\s*--- (PASS|FAIL|SKIP): (\S+)`)

// parseTests counts the results in the output of a test binary, subtests included.
func parseTests(out []byte) testRun {
	var t testRun
	for _, m := range resultLine.FindAllSubmatch(out, -1) {
		switch string(m[1]) {
		case "PASS":
			t.Passed++
		case "FAIL":
			t.Failed = append(t.Failed, string(m[2]))
		default:
			t.Skipped++
		}
	}
	return t
}
