mkdir -p d/e/i; echo f > d/e/f.txt; echo g > d/e/g.md; echo h > d/e/i/h.md
