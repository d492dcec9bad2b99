"""The HTTP server: one process speaks HTTP, and several worker processes read pictures.

```
client → protocol → gate → app → dispatcher → worker → engine
          time-outs  token   routes  queue      process   models
```

Workers are processes, so that the event loop never waits for a picture, a picture that crashes its
process harms nobody else, and memory that a large picture took is returned.
"""
