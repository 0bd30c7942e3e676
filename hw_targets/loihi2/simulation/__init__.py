"""The engine of the fixed-point simulator: one population after the other, a stretch of time at once.

From the door inwards:

- ``engine``: ``Simulator``, which plans a chip once and cuts the work; ``encode`` (clips to integers), ``record`` (what
  is kept), ``plan`` (a population's constants and the bounds of its sums), ``overflow`` (sums that are refused)
- ``population``: synapses, then neurons, state carried on; ``lif_population``, ``sigma_delta_population``; ``reset``
- sums: ``synapses`` chooses between ``dense_sums`` and ``event_path`` by the measured ``crossover``, both on the map
  that ``pooling`` leaves; ``event_sums``, in ``event_parts`` where 16 bits hold no more (machine code:
  ``event_kernels``); ``delayed`` and ``delays`` where messages are late
- neurons, compiled: ``lif``, ``sigma_delta``, and ``recurrent``, which is sums and neurons in one loop
- ``on_device``: the same populations on a graphics processor
"""
