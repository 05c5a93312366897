"""Programs: compiled once for a step's structure, shapes and dtypes; with room for T steps that is used again and again."""
from .emit import Writer
from .plan import Plan


class Program:
    """A tape, its plan, its source, and rooms: pairs (forward, backward) with the buffers for T steps.

    watched   whether the cell's code has something that changes things, so that every run of it must be looked at
    """
    watched = True

    def __init__(self, tape, title="step"):
        self.tape = tape
        self.plan = Plan(tape)
        self.writer = Writer(self.plan, title)
        self.source = self.writer.source
        namespace: dict = {}
        exec(compile(self.source, f"<scan of {title}>", "exec"), namespace)
        self.make = namespace["bptt"]
        self.rooms = {}
        self.differentiable = [n.requires_grad for n in (*tape.y, *tape.new)]
        self.trains = any(self.differentiable)

    def take(self, T):
        """A room for T steps that nobody uses."""
        try:
            return self.rooms[T].pop()
        except (KeyError, IndexError):                  # none, or another thread was faster
            return self.make(T)

    def give(self, T, room):
        """A room that is free again; a few are kept."""
        free = self.rooms.setdefault(T, [])
        if len(free) < 2 and T <= 10_000:
            free.append(room)
        while len(self.rooms) > 4:
            self.rooms.pop(next(iter(self.rooms)), None)
