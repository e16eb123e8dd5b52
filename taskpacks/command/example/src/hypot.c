/* hypot X Y: the length of the hypotenuse over the legs x and y, as JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "use: hypot X Y\n");
		return 2;
	}
	double length = hypot(atof(argv[1]), atof(argv[2])); /* the node has checked that they are numbers */
	if (!isfinite(length)) {
		fprintf(stderr, "the hypotenuse over %s and %s is too long for a number\n", argv[1], argv[2]); /* the task's error */
		return 1;
	}
	printf("%.17g\n", length);
	return 0;
}
