package train

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Folder is a Dataset of image files in class folders.
type Folder struct {
	root    string
	classes []string
	files   []string // slash-separated, below root
	labels  []int
}

// OpenFolder opens a folder that holds one folder for each class, or train/ and val/ that each hold class folders; in
// the first case, or without val/, val is nil. Class names are folder names in byte order, as in torchvision; a
// class's images may lie in folders below it. Files count as images by their endings, names that begin with a dot
// are passed over, and symbolic links are followed to files and to class folders.
func OpenFolder(dir string) (train, val Dataset, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil, &DataError{dir, "a name that cannot be opened", wantData, err}
	}
	if !info.IsDir() {
		return nil, nil, &DataError{Spec: dir, Got: "a file", Want: wantData}
	}
	trainDir, valDir := filepath.Join(dir, "train"), filepath.Join(dir, "val")
	if !isDir(trainDir) {
		if isDir(valDir) && !hasImages(valDir) {
			return nil, nil, &DataError{Spec: dir, Got: "val/ without train/", Want: "train/ beside val/, or class folders"}
		}
		f, err := openClasses(dir, nil)
		if err != nil {
			return nil, nil, err
		}
		return f, nil, nil
	}
	t, err := openClasses(trainDir, nil)
	if err != nil {
		return nil, nil, err
	}
	if !isDir(valDir) {
		return t, nil, nil
	}
	v, err := openClasses(valDir, t.classes)
	if err != nil {
		return nil, nil, err
	}
	return t, v, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// hasImages says whether images lie directly in dir, as in a class folder.
func hasImages(dir string) bool {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if imageEndings[ending(e.Name())] {
			return true
		}
	}
	return false
}

// openClasses reads the class folders of root. With classes given, only those may occur and some may be missing.
func openClasses(root string, classes []string) (*Folder, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, &DataError{root, "a folder that cannot be listed", wantData, err}
	}
	f := &Folder{root: root, classes: classes}
	number := map[string]int{}
	for i, c := range classes {
		number[c] = i
	}
	var stray string // an image or archive where class folders should be
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		if !isDir(filepath.Join(root, name)) {
			if imageEndings[ending(name)] || laterForm(name) != "" {
				stray = name
			}
			continue
		}
		label, known := number[name]
		if !known {
			if classes != nil {
				return nil, &DataError{Spec: root, Got: fmt.Sprintf("a class %q that the training set lacks", name),
					Want: "classes among " + strings.Join(classes, ", ")}
			}
			label = len(f.classes)
			f.classes = append(f.classes, name)
		}
		before := len(f.files)
		if err := f.add(name, label); err != nil {
			return nil, err
		}
		if len(f.files) == before {
			return nil, &DataError{Spec: root, Got: fmt.Sprintf("a class folder %q without images", name), Want: wantImage + " files in it"}
		}
	}
	switch {
	case len(f.files) > 0:
		return f, nil
	case laterForm(stray) != "":
		return nil, &UnsupportedError{What: fmt.Sprintf("data %q: %s", filepath.Join(root, stray), laterForm(stray)), Want: wantData}
	case stray != "":
		return nil, &DataError{Spec: root, Got: fmt.Sprintf("images such as %q but no class folder", stray),
			Want: "each image in a folder named after its class"}
	}
	return nil, &DataError{Spec: root, Got: "an empty folder", Want: "class folders with " + wantImage + " files"}
}

// add takes the images of the folder name, which is below root.
func (f *Folder) add(name string, label int) error {
	entries, err := os.ReadDir(filepath.Join(f.root, filepath.FromSlash(name)))
	if err != nil {
		return &DataError{f.root, fmt.Sprintf("a folder %q that cannot be listed", name), "class folders", err}
	}
	for _, e := range entries {
		path := name + "/" + e.Name()
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			if err := f.add(path, label); err != nil {
				return err
			}
		case unreadEndings[ending(e.Name())]:
			return &UnsupportedError{What: "image " + filepath.Join(f.root, path), Want: wantImage}
		case imageEndings[ending(e.Name())]:
			f.files = append(f.files, path)
			f.labels = append(f.labels, label)
		}
	}
	return nil
}

// Len returns the number of images.
func (f *Folder) Len() int { return len(f.files) }

// Classes returns the names of the class folders.
func (f *Folder) Classes() []string { return f.classes }

// Label returns the class of image i.
func (f *Folder) Label(i int) int { return f.labels[i] }

// Name returns the file of image i, below the folder that was opened.
func (f *Folder) Name(i int) string { return f.files[i] }

// Image reads the file of image i.
func (f *Folder) Image(i int) (Pixels, error) {
	return ReadImage(filepath.Join(f.root, filepath.FromSlash(f.files[i])))
}
