# What there is: a line with R's version, then a line for each installed package, its name and version.
cat(format(getRversion()), "\n", sep = "")
there <- installed.packages(fields = "Version")[, c("Package", "Version"), drop = FALSE]
cat(paste(there[, 1], there[, 2]), sep = "\n")
