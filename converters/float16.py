"""What half precision can hold (IEEE 754 binary16)."""

#: Largest finite number.
LARGEST = 65504.0
#: Smallest normal number: LiteRT tells the processor to take smaller ones for zero.
SMALLEST = 2.0**-14
