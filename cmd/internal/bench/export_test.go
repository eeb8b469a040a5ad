package bench

// Floor is Ceiling.floor.
var Floor = Ceiling.floor
