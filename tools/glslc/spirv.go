package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// module is what this tool needs to know of one SPIR-V compute module.
type module struct {
	words    []uint32
	caps     []uint32   // capabilities
	bindings []binding  // storage buffers by binding number, which may have gaps
	push     []member   // scalar members of the push-constant block
	pointers []binding  // pointer members, which follow the scalars
	spec     []specItem // by constant_id
	local    [3]uint32
	localID  [3]int32 // constant_id per axis, or -1
}

// binding is one storage buffer of descriptor set 0, or a pointer.
type binding struct {
	index       uint32
	name        string
	read, write bool
	pointer     bool
}

// member is one member of the push-constant block.
type member struct {
	name   string
	typ    string // Go type
	offset uint32
}

// specItem is one specialization constant.
type specItem struct {
	id   uint32
	name string
	typ  string // Go type, bool included
	bits uint32 // default value
}

// interfaceError is something in the shader's interface that the Go contract cannot express.
type interfaceError struct{ name, text string }

func (e *interfaceError) Error() string { return e.text }

func ifaceErrorf(name, format string, args ...any) error {
	return &interfaceError{name, fmt.Sprintf(format, args...)}
}

// The numbers of the SPIR-V 1.6 specification, section 3, that reflection needs.
const (
	spirvMagic = 0x07230203

	opSourceContinued       = 2
	opSource                = 3
	opSourceExtension       = 4
	opName                  = 5
	opMemberName            = 6
	opString                = 7
	opLine                  = 8
	opEntryPoint            = 15
	opExecutionMode         = 16
	opCapability            = 17
	opTypeBool              = 20
	opTypeInt               = 21
	opTypeFloat             = 22
	opTypeArray             = 28
	opTypeRuntimeArray      = 29
	opTypeStruct            = 30
	opTypePointer           = 32
	opConstant              = 43
	opSpecConstantTrue      = 48
	opSpecConstantFalse     = 49
	opSpecConstant          = 50
	opSpecConstantComposite = 51
	opFunction              = 54
	opVariable              = 59
	opDecorate              = 71
	opMemberDecorate        = 72
	opNoLine                = 317
	opModuleProcessed       = 330

	decSpecID        = 1
	decBuiltIn       = 11
	decNonWritable   = 24
	decNonReadable   = 25
	decBinding       = 33
	decDescriptorSet = 34
	decOffset        = 35

	modeLocalSize        = 17
	modeLocalSizeID      = 38
	modelGLCompute       = 5
	builtInWorkgroupSize = 25

	classUniformConstant = 0
	classUniform         = 2
	classPushConstant    = 9
	classStorageBuffer   = 12
	classPhysicalStorage = 5349
)

// reader holds the tables that one pass over a module fills.
type reader struct {
	names       map[uint32]string
	memberNames map[[2]uint32]string
	dec         map[[2]uint32]uint32   // {id, decoration}: its first operand
	memberDec   map[[3]uint32]uint32   // {struct, member, decoration}: its first operand
	types       map[uint32]instruction // by result id
	consts      map[uint32]instruction // by result id, constants of all kinds
	specs       []uint32               // ids of OpSpecConstant*, in order
	vars        []instruction          // module-scope OpVariable
	modes       map[uint32][]uint32    // execution mode: operands
	entries     int                    // compute entry points named main
	workgroup   uint32                 // id of the WorkgroupSize built-in, or 0
}

// instruction is one SPIR-V instruction without its first word.
type instruction struct {
	op  uint32
	arg []uint32
}

// readModule reflects an unstripped module.
func readModule(data []byte) (*module, error) {
	if len(data) < 20 || len(data)%4 != 0 || binary.LittleEndian.Uint32(data) != spirvMagic {
		return nil, fmt.Errorf("got %d bytes that are no SPIR-V module", len(data))
	}
	m := &module{words: make([]uint32, len(data)/4), local: [3]uint32{1, 1, 1}, localID: [3]int32{-1, -1, -1}}
	for i := range m.words {
		m.words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	r := &reader{
		names: map[uint32]string{}, memberNames: map[[2]uint32]string{}, dec: map[[2]uint32]uint32{},
		memberDec: map[[3]uint32]uint32{}, types: map[uint32]instruction{}, consts: map[uint32]instruction{},
		modes: map[uint32][]uint32{},
	}
	err := m.each(func(in instruction) bool {
		r.note(m, in)
		return in.op != opFunction // the interface stands before the first function
	})
	if err != nil {
		return nil, err
	}
	if r.entries != 1 {
		return nil, errors.New("want one compute entry point named main")
	}
	for _, step := range []func(*module) error{r.readSpec, r.readLocal, r.readVariables} {
		if err := step(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// each calls f for every instruction until it returns false.
func (m *module) each(f func(instruction) bool) error {
	for i := 5; i < len(m.words); {
		n, op := int(m.words[i]>>16), m.words[i]&0xffff
		if n == 0 || i+n > len(m.words) {
			return fmt.Errorf("SPIR-V word %d: an instruction of %d words runs over the end", i, n)
		}
		if !f(instruction{op, m.words[i+1 : i+n]}) {
			return nil
		}
		i += n
	}
	return nil
}

// stripped returns the module without names and other debug instructions: drivers ignore them.
func (m *module) stripped() []byte {
	out := make([]byte, 0, 4*len(m.words))
	for _, w := range m.words[:5] {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	debug := []uint32{opSourceContinued, opSource, opSourceExtension, opName, opMemberName, opString, opLine, opNoLine, opModuleProcessed}
	for i := 5; i < len(m.words); {
		n, op := int(m.words[i]>>16), m.words[i]&0xffff
		if !slices.Contains(debug, op) {
			for _, w := range m.words[i : i+n] {
				out = binary.LittleEndian.AppendUint32(out, w)
			}
		}
		i += n
	}
	return out
}

// note files one instruction of the module's interface.
func (r *reader) note(m *module, in instruction) {
	a := in.arg
	switch in.op {
	case opCapability:
		m.caps = append(m.caps, a[0])
	case opName:
		r.names[a[0]] = text(a[1:])
	case opMemberName:
		r.memberNames[[2]uint32{a[0], a[1]}] = text(a[2:])
	case opEntryPoint:
		if a[0] == modelGLCompute && text(a[2:]) == "main" {
			r.entries++
		}
	case opExecutionMode:
		r.modes[a[1]] = a[2:]
	case opDecorate:
		r.dec[[2]uint32{a[0], a[1]}] = first(a[2:])
		if a[1] == decBuiltIn && a[2] == builtInWorkgroupSize {
			r.workgroup = a[0]
		}
	case opMemberDecorate:
		r.memberDec[[3]uint32{a[0], a[1], a[2]}] = first(a[3:])
	case opTypeBool, opTypeInt, opTypeFloat, opTypeArray, opTypeRuntimeArray, opTypeStruct, opTypePointer:
		r.types[a[0]] = instruction{in.op, a[1:]}
	case opConstant, opSpecConstantComposite:
		r.consts[a[1]] = in
	case opSpecConstant, opSpecConstantTrue, opSpecConstantFalse:
		r.consts[a[1]] = in
		r.specs = append(r.specs, a[1])
	case opVariable:
		r.vars = append(r.vars, in)
	}
}

// readSpec fills m.spec. A constant that only sets a workgroup axis has no name in GLSL: it becomes LocalX, Y or Z.
func (r *reader) readSpec(m *module) error {
	axis := map[uint32]string{}
	if c, ok := r.consts[r.workgroup]; ok {
		for i, id := range c.arg[2:] {
			axis[id] = "local" + string("XYZ"[i])
		}
	}
	byID := map[uint32]specItem{}
	for _, id := range r.specs {
		specID, ok := r.dec[[2]uint32{id, decSpecID}]
		if !ok {
			continue // computed from others
		}
		c := r.consts[id]
		item := specItem{id: specID, name: r.names[id], typ: r.scalar(c.arg[0])}
		switch {
		case item.typ == "":
			return ifaceErrorf(item.name, "specialization constant %s: want bool or a 32-bit int, uint or float", item.name)
		case c.op == opSpecConstantTrue:
			item.bits = 1
		case c.op == opSpecConstant:
			item.bits = c.arg[2]
		}
		old, again := byID[specID]
		if item.name == "" && again { // local_size_x_id names a constant that is declared, too
			continue
		}
		if item.name == "" {
			item.name = axis[id]
		} else if again && !strings.HasPrefix(old.name, "local") {
			return ifaceErrorf(item.name, "specialization constants %s and %s have the same constant_id %d", old.name, item.name, specID)
		}
		if again && old.bits != item.bits {
			return ifaceErrorf(item.name, "constant_id %d has two defaults, %d and %d: local_size_x = N beside local_size_x_id must equal the constant's",
				specID, old.bits, item.bits)
		}
		byID[specID] = item
	}
	for _, item := range byID {
		m.spec = append(m.spec, item)
	}
	slices.SortFunc(m.spec, func(a, b specItem) int { return cmp.Compare(a.id, b.id) })
	return nil
}

// readLocal fills the workgroup size.
func (r *reader) readLocal(m *module) error {
	var ids []uint32
	if c, ok := r.consts[r.workgroup]; ok {
		ids = c.arg[2:]
	} else if mode, ok := r.modes[modeLocalSizeID]; ok {
		ids = mode
	} else if mode, ok := r.modes[modeLocalSize]; ok {
		copy(m.local[:], mode)
	}
	for i, id := range ids {
		c, ok := r.consts[id]
		if !ok || len(c.arg) < 3 {
			return errors.New("the workgroup size must be of numbers or specialization constants")
		}
		m.local[i] = c.arg[2]
		if specID, ok := r.dec[[2]uint32{id, decSpecID}]; ok {
			m.localID[i] = int32(specID)
		}
	}
	fixed := uint32(1)
	for i, n := range m.local {
		if m.localID[i] < 0 {
			fixed *= n
		}
	}
	if fixed > 128 {
		return ifaceErrorf("local_size_x", "the workgroup has %d invocations and every device only 128: set its size by local_size_x_id", fixed)
	}
	return nil
}

// readVariables fills m.bindings and m.push.
func (r *reader) readVariables(m *module) error {
	for _, v := range r.vars {
		id, class := v.arg[1], v.arg[2]
		pointee := r.types[v.arg[0]].arg[1]
		switch class {
		case classStorageBuffer:
			if err := r.readBuffer(m, id, pointee); err != nil {
				return err
			}
		case classUniform, classUniformConstant:
			return ifaceErrorf(r.names[id], "%s is neither storage buffer nor push constant: there is nothing else here", r.names[id])
		case classPushConstant:
			if err := r.readPush(m, pointee); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(m.bindings, func(a, b binding) int { return cmp.Compare(a.index, b.index) })
	for i := 1; i < len(m.bindings); i++ {
		if a, b := m.bindings[i-1], m.bindings[i]; a.index == b.index {
			return ifaceErrorf(b.name, "buffers %s and %s have the same binding %d", a.name, b.name, a.index)
		}
	}
	return nil
}

// readBuffer adds the storage buffer of variable id, whose type is the block.
func (r *reader) readBuffer(m *module, id, block uint32) error {
	b := binding{index: r.dec[[2]uint32{id, decBinding}], name: r.names[id]}
	if b.name == "" {
		b.name = r.memberNames[[2]uint32{block, 0}]
	}
	t := r.types[block]
	if t.op != opTypeStruct {
		return ifaceErrorf(b.name, "%s is an array of buffers: want one", b.name)
	}
	if set := r.dec[[2]uint32{id, decDescriptorSet}]; set != 0 {
		return ifaceErrorf(b.name, "buffer %s is in descriptor set %d, want 0", b.name, set)
	}
	has := func(decoration uint32) bool {
		_, ok := r.dec[[2]uint32{id, decoration}]
		return ok || r.allMembers(block, decoration)
	}
	b.read, b.write = !has(decNonReadable), !has(decNonWritable)
	m.bindings = append(m.bindings, b)
	return nil
}

// allMembers reports whether every member of a block has the decoration.
func (r *reader) allMembers(block, decoration uint32) bool {
	for i := range r.types[block].arg {
		if _, ok := r.memberDec[[3]uint32{block, uint32(i), decoration}]; !ok {
			return false
		}
	}
	return true
}

// readPush fills m.push and m.pointers from the block's members.
func (r *reader) readPush(m *module, block uint32) error {
	for i, t := range r.types[block].arg {
		at := member{
			name:   r.memberNames[[2]uint32{block, uint32(i)}],
			typ:    r.scalar(t),
			offset: r.memberDec[[3]uint32{block, uint32(i), decOffset}],
		}
		if p := r.types[t]; p.op == opTypePointer && p.arg[0] == classPhysicalStorage {
			if want := uint32(4*len(m.push) + 8*len(m.pointers)); at.offset != want {
				return ifaceErrorf(at.name, "pointer %s is at offset %d, want %d: an even number of scalars before it", at.name, at.offset, want)
			}
			m.pointers = append(m.pointers, binding{name: at.name, pointer: true,
				read: !r.allMembers(p.arg[1], decNonReadable), write: !r.allMembers(p.arg[1], decNonWritable)})
			continue
		}
		if at.typ == "" || at.typ == "bool" {
			return ifaceErrorf(at.name, "push constant %s: want a 32-bit int, uint or float", at.name)
		}
		if at.offset != uint32(4*i) {
			return ifaceErrorf(at.name, "push constant %s is at offset %d, want %d: no gaps", at.name, at.offset, 4*i)
		}
		m.push = append(m.push, at)
	}
	if n := 4*len(m.push) + 8*len(m.pointers); n > 128 {
		return ifaceErrorf(m.push[0].name, "the push constants are %d bytes, and every device only has 128", n)
	}
	return nil
}

// scalar returns the Go type of a bool or 32-bit number type, or "".
func (r *reader) scalar(id uint32) string {
	t := r.types[id]
	switch {
	case t.op == opTypeBool:
		return "bool"
	case t.op == opTypeFloat && t.arg[0] == 32:
		return "float32"
	case t.op == opTypeInt && t.arg[0] == 32 && t.arg[1] == 0:
		return "uint32"
	case t.op == opTypeInt && t.arg[0] == 32:
		return "int32"
	}
	return ""
}

// literal is the default value in Go.
func (s specItem) literal() string {
	switch s.typ {
	case "bool":
		return fmt.Sprint(s.bits != 0)
	case "float32":
		f := math.Float32frombits(s.bits)
		if f != f || f-f != 0 {
			return fmt.Sprintf("math.Float32frombits(%#x)", s.bits)
		}
		return fmt.Sprint(f)
	case "int32":
		return fmt.Sprint(int32(s.bits))
	}
	return fmt.Sprint(s.bits)
}

// needOf says which entry of a variant's needs a capability asks for: a Vulkan feature, an extension or "subgroup".
var needOf = map[uint32]string{
	9: "shaderFloat16", 10: "shaderFloat64", 11: "shaderInt64", 22: "shaderInt16", 39: "shaderInt8",
	4433: "storageBuffer16BitAccess", 4434: "uniformAndStorageBuffer16BitAccess", 4448: "storageBuffer8BitAccess",
	61: "subgroup", 62: "subgroup", 63: "subgroup", 64: "subgroup", 65: "subgroup", 66: "subgroup", 67: "subgroup", 68: "subgroup",
	5345: "vulkanMemoryModel", 5347: "bufferDeviceAddress", 6022: "VK_KHR_cooperative_matrix", 6016: "shaderIntegerDotProduct",
	5116: "shaderBFloat16Type", 5117: "shaderBFloat16DotProduct", 5118: "shaderBFloat16CooperativeMatrix",
	5430: "cooperativeMatrixReductions", 5431: "cooperativeMatrixConversions", 5432: "cooperativeMatrixPerElementOperations",
	5433: "cooperativeMatrixTensorAddressing", 5434: "cooperativeMatrixBlockLoads",
}

// missingNeeds returns what the module's capabilities ask for and needs lacks. "subgroup_arithmetic" also answers "subgroup".
func (m *module) missingNeeds(needs []string) []string {
	var missing []string
	for _, c := range m.caps {
		want, ok := needOf[c]
		if ok && !slices.ContainsFunc(needs, func(n string) bool { return n == want || strings.HasPrefix(n, want+"_") }) {
			missing = append(missing, want)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// text decodes a nul-terminated string literal.
func text(words []uint32) string {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

func first(words []uint32) uint32 {
	if len(words) == 0 {
		return 0
	}
	return words[0]
}
