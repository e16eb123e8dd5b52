/* fail STATUS MESSAGE: prints the message and ends with the status. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "use: fail STATUS MESSAGE\n");
		return 2;
	}
	fprintf(stderr, "%s\n", argv[2]);
	return atoi(argv[1]);
}
