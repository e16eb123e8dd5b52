// Package physicsjs is a pack of classical mechanics: simulations whose results a page can animate.
//
// physicsjs.main.mov3d throws a sphere over the Earth's surface and follows its centre until the sphere's lowest point passes
// below the ground (r.y - radius < 0). Its params:
//
//	dt      float   length of a step, s, above 0
//	r0      list    where the centre starts, [x, y, z] in m; y points up, the ground is y = 0
//	v0      list    velocity at the start, [x, y, z] in m/s
//	mass    float   kg, above 0
//	radius  float   m, 0 or more
//	drag    bool    whether the air slows the sphere down
//
// The Earth is a point mass 6378.1 km below the origin, the ground is flat. Air at 25 degrees Celsius resists with
// -(nu D + rho c A |v| / 2) v, D being the diameter and A the cross-section. The result is an object of lists:
//
//	t               the times, s
//	r, v, a         position, velocity and acceleration, [x, y, z] each
//	w, alpha        angular velocity and acceleration, [x, y, z] each: zero, for nothing turns the sphere
//	ke, pe, me      kinetic, potential and mechanical energy, J; pe is 0 where the lowest point is on the ground
//	nke, npe, nme   the same over the first value of their own that is not 0
//	every           only in a thinned result: steps between two rows
//
// rounded to six places. a and alpha belong to the step that follows, so they have one row less. The last row is the first one
// below the ground.
//
// A run of more than a million steps is refused, for the sphere may never come down. A result that would pass 1 MB is thinned:
// it keeps every second step, or every fourth and so on, and always the last one.
//
// Start reading in mov3d.go; rows.go is about the result's size and shape.
package physicsjs
