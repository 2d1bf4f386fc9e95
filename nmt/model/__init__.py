"""The networks: encoders, attention, decoders, and the complete model that is built from them.

A model takes tensors and returns tensors; training, search and files are elsewhere.

The letters of shapes, such as ``[B, T, V]``:

- B: sentences of a batch.
- S: source positions, padding included.
- T: target positions, padding included.
- L: positions of the memory that attention looks at; the same as S.
- Q: queries of a sentence that attend at once: its target positions in training, its hypotheses in search.
- N: rows that take a step together; in beam search, N is B x K.
- K: hypotheses of a beam.
- H: width of the decoder's state.
- M: width of the memory, the encoder's outputs.
- E: width of the embeddings, and of the layers of a transformer.
- A: width of the space in which queries and keys are compared.
- C: width of the coverage of each source position.
- F: width of the features that the output layer reads.
- V: pieces of the vocabulary.
- h: heads.
- d: width of a head.
"""
