//go:build ignore

// Command generate makes the demo data from Fashion-MNIST: the first images of each class, in the order of the files.
//
//	apt-get install dataset-fashion-mnist
//	go run train/demo/generate.go -from /usr/share/datasets/fashion-mnist -to train/demo
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"flag"
	"io"
	"log"
	"os"
	"path/filepath"
)

const pixels = 28 * 28

func main() {
	from := flag.String("from", "/usr/share/datasets/fashion-mnist", "folder of the complete data set")
	to := flag.String("to", "train/demo", "folder to write to")
	flag.Parse()
	for part, each := range map[string]int{"train": 600, "t10k": 100} {
		images := read(filepath.Join(*from, part+"-images-idx3-ubyte.gz"))[16:]
		labels := read(filepath.Join(*from, part+"-labels-idx1-ubyte.gz"))[8:]
		var count [10]int
		var keptImages, keptLabels []byte
		for i, l := range labels {
			if count[l] == each {
				continue
			}
			count[l]++
			keptImages = append(keptImages, images[i*pixels:(i+1)*pixels]...)
			keptLabels = append(keptLabels, l)
		}
		write(filepath.Join(*to, part+"-images-idx3-ubyte.gz"), keptImages, 0x803, len(keptLabels), 28, 28)
		write(filepath.Join(*to, part+"-labels-idx1-ubyte.gz"), keptLabels, 0x801, len(keptLabels))
	}
}

func read(name string) []byte {
	f, err := os.Open(name)
	check(err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	check(err)
	b, err := io.ReadAll(z)
	check(err)
	return b
}

// write makes a gzipped IDX file with the magic number and dimensions given.
func write(name string, data []byte, header ...int) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	check(err)
	for _, v := range header {
		check(binary.Write(z, binary.BigEndian, uint32(v)))
	}
	_, err = z.Write(data)
	check(err)
	check(z.Close())
	check(os.WriteFile(name, b.Bytes(), 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
