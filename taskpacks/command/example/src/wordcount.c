/* wordcount < {"text": "..."}: counts the lines and words of the text, and prints them as a JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *why)
{
	fprintf(stderr, "%s\n", why);
	exit(1);
}

/* read_char returns the next character of a JSON string, EOF at the quote that ends it. Of one beyond ASCII it returns the pieces:
 * bytes of UTF-8, or what is escaped as \u. */
static int read_char(void)
{
	static const char letters[] = "nrtbf", meant[] = "\n\r\t\b\f";
	int c = getchar();
	if (c == '"')
		return EOF;
	if (c == '\\') {
		c = getchar();
		unsigned unit;
		if (c == 'u' && scanf("%4x", &unit) == 1)
			return (int)unit;
		const char *at = strchr(letters, c);
		if (at != NULL)
			return meant[at - letters];
	}
	if (c == EOF)
		fail("the text has no end");
	return c;
}

int main(void)
{
	int begun = 0;
	/* The node sends what package.json declares, and nothing else. */
	if (scanf(" { \"text\" : \"%n", &begun) != 0 || begun == 0)
		fail("no text was sent");
	long lines = 0, words = 0;
	int inside = 0; /* a word */
	for (int c = read_char(); c != EOF; c = read_char()) {
		int space = c == ' ' || (c >= '\t' && c <= '\r');
		lines += c == '\n';
		words += !space && !inside;
		inside = !space;
	}
	printf("{\"lines\": %ld, \"words\": %ld}\n", lines, words);
	return 0;
}
